"""Where the files of very many images go, in a hundred bytes an image instead of two thousand."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ovseg.images.finding import FoundImage
from ovseg.images.output_plan import PlannedOutput


class CompactPlan:
    """What was found and planned, put together again one image at a time.

    Args:
        images: with their places.
        plan: where the files of each go, in the same order.
    """

    def __init__(self, images: Sequence[FoundImage], plan: Sequence[PlannedOutput]) -> None:
        self._paths = _Names(os.fspath(image.path) for image in images)
        folders = list(dict.fromkeys(output.folder for output in plan))
        numbers = {folder: number for number, folder in enumerate(folders)}
        self._folders = folders
        self._folder_of = array('l', (numbers[output.folder] for output in plan))
        # Most places are the end of the path, most stems those of the image.
        self._places: dict[int, str] = {}
        self._stems: dict[int, str] = {}
        self._ends = array('l', [0]) * len(plan)
        for position, (image, output) in enumerate(zip(images, plan, strict=True)):
            place = image.place.as_posix()
            if os.fspath(image.path).endswith(place):
                self._ends[position] = len(place)
            else:
                self._places[position] = place
            if not output.has_own_name:
                self._stems[position] = output.stem

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: int) -> PlannedOutput:
        path = Path(self._paths[position])
        folder = self._folders[self._folder_of[position]]
        return PlannedOutput(path, folder, self._stems.get(position, path.stem))

    def __iter__(self) -> Iterator[PlannedOutput]:
        return (self[position] for position in range(len(self)))

    @property
    def folders(self) -> Sequence[Path]:
        """The folders of all files."""
        return self._folders

    def place(self, position: int) -> str:
        """The path of an image below the folder that was asked for, with ``/``.

        Args:
            position: of the image in the plan.
        """
        end = self._ends[position]
        return self._paths[position][-end:] if end else self._places[position]

    def places(self) -> Iterator[str]:
        """The places of all images."""
        return (self.place(position) for position in range(len(self)))


class _Names:
    """Many names in one piece of memory."""

    def __init__(self, names: Iterable[str]) -> None:
        joined, self._ends = bytearray(), array('q', [0])
        for name in names:
            joined += os.fsencode(name)
            self._ends.append(len(joined))
        self._joined = bytes(joined)

    def __getitem__(self, position: int) -> str:
        start, end = self._ends[position], self._ends[position + 1]
        return os.fsdecode(self._joined[start:end])
