"""Where the files of each image go, decided for all images before the first is segmented.

Files are named by their image: ``photo.jpg`` gives ``photo_labels.png``. Sub-folders are mirrored.
An image has the long form of its name, ``photo_jpg_labels.png``, where a file of the short form
would replace a file of another image, an image, or a file beside the images that ovseg did not
write. Names that differ by the case of letters only count as one, because on many disks they are.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovseg.errors import UserError
from ovseg.file_names import fitting_stem, longest_name
from ovseg.images.finding import FoundImage
from ovseg.result_files import is_result


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """Where the files of one image go.

    Attributes:
        image: its file.
        folder: of its files.
        stem: how their names begin.
    """

    image: Path
    folder: Path
    stem: str

    @property
    def has_own_name(self) -> bool:
        """Whether the files are named as the image alone would have them."""
        return self.stem == self.image.stem


def plan_outputs(
    images: Sequence[FoundImage],
    out_dir: str | Path,
    ends: Collection[str],
    longest: int,
    reserved: Collection[str] = (),
) -> list[PlannedOutput]:
    """Names for the files of all images, none of which replaces what must stay.

    Args:
        images: with their places, which are mirrored below ``out_dir``.
        out_dir: of the files.
        ends: how the names of the files of an image end, such as ``_labels.png``.
        longest: bytes of the longest end of any kind, whether it is asked for or not, so that
            names do not depend on the kinds.
        reserved: names in ``out_dir`` that are no image's.

    Returns:
        One a image, in their order.
    """
    plan = _Plan(images, Path(out_dir), ends, longest, reserved)
    plan.give_long_names(plan.clashing())
    plan.give_numbers(plan.clashing())
    return plan.outputs()


def check_targets(paths: Iterable[Path], source: str | Path) -> None:
    """Stop before files would replace the image they are made from, or a user's file beside it.

    Args:
        paths: the files that will be written.
        source: the image, '' if it has no file.

    Raises:
        UserError: which file is in the way.
    """
    if not source or not os.path.exists(source):
        return
    stay = _ToStay([Path(source)])
    for path in paths:
        if stay.holds(path.parent, path.name):
            raise UserError(
                f'{path} is there and is no result of ovseg, so it is not replaced: choose another '
                'folder, or another stem.'
            )


class _ToStay:
    """The files that no result may replace: images, and what a user has beside them."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._real: dict[Path, str] = {}
        self._images = set()
        for image in images:
            # By its own name, and, if it is a link, that of the file behind it.
            for place in (image, Path(os.path.realpath(image))):
                self._images.add((self._real_path(place.parent), _folded(place.name)))
        self._folders = {folder for folder, _ in self._images}

    def holds(self, folder: Path, name: str) -> bool:
        """Whether a file must stay."""
        real = self._real_path(folder)
        if (real, _folded(name)) in self._images:
            return True
        path = os.path.join(real, name)
        return real in self._folders and os.path.lexists(path) and not is_result(path)

    def _real_path(self, folder: Path) -> str:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]


class _Plan:
    """Stems of all images, which are made longer until no file is in the way of another."""

    def __init__(
        self,
        images: Sequence[FoundImage],
        out_dir: Path,
        ends: Collection[str],
        longest: int,
        reserved: Collection[str],
    ) -> None:
        self._images = images
        self._ends = tuple(ends)
        self._stay = _ToStay(image.path for image in images)
        self._folders = [out_dir / image.place.parent for image in images]
        self._keys = [_folded(str(folder)) for folder in self._folders]
        # A folder may be called as a file: photos/a_labels.png/b.png beside photos/a.png.
        self._taken = {
            (_folded(str(above.parent)), _folded(above.name))
            for folder in set(self._folders)
            for above in (folder, *folder.parents)
        } | {(_folded(str(out_dir)), _folded(name)) for name in reserved}
        self._room = longest_name(out_dir) - longest
        self._stems = [self._fitting(image.path.stem) for image in images]

    def outputs(self) -> list[PlannedOutput]:
        """What was decided."""
        return [
            PlannedOutput(image.path, folder, stem)
            for image, folder, stem in zip(self._images, self._folders, self._stems, strict=True)
        ]

    def clashing(self) -> list[int]:
        """The images whose files would replace others, or that would be replaced."""
        owners = Counter(name for index in self._all() for name in self._names(index))
        return [
            index
            for index in self._all()
            if any(owners[name] > 1 or name in self._taken for name in self._names(index))
            or self._in_the_way(index, self._stems[index])
        ]

    def give_long_names(self, indices: Iterable[int]) -> None:
        """``photo_jpg`` instead of ``photo``."""
        for index in indices:
            self._stems[index] = self._fitting(self._long(index))

    def give_numbers(self, indices: Sequence[int]) -> None:
        """``photo_jpg_2`` where there is another ``photo_jpg``."""
        clashing = set(indices)
        taken = {
            name for index in self._all() if index not in clashing for name in self._names(index)
        } | self._taken
        # From where to go on counting, so that many equal names take no longer than others.
        next_number: dict[tuple[str, str], int] = defaultdict(lambda: 1)
        for index in indices:
            base = self._long(index)
            counter = (self._keys[index], _folded(base))
            while True:
                number = next_number[counter]
                next_number[counter] += 1
                stem = self._fitting(base if number == 1 else f'{base}_{number}')
                names = set(self._names(index, stem))
                if not names & taken and not self._in_the_way(index, stem):
                    break
            self._stems[index] = stem
            taken |= names

    def _all(self) -> range:
        return range(len(self._images))

    def _long(self, index: int) -> str:
        return self._images[index].path.name.replace('.', '_')

    def _fitting(self, stem: str) -> str:
        return fitting_stem(stem, self._room)

    def _names(self, index: int, stem: str | None = None) -> Iterator[tuple[str, str]]:
        """Folder and name of each file, as disks compare them."""
        stem = self._stems[index] if stem is None else stem
        return ((self._keys[index], _folded(stem + end)) for end in self._ends)

    def _in_the_way(self, index: int, stem: str) -> bool:
        return any(self._stay.holds(self._folders[index], stem + end) for end in self._ends)


def _folded(name: str) -> str:
    """A name as the least exact of disks knows it."""
    return unicodedata.normalize('NFC', name).casefold()
