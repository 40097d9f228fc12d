"""A folder of images without labels, as a data set to train on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.logging import MMLogger

from ovseg.datasets.base import pipeline_with_suppression
from ovseg.datasets.checked import CheckedDataset
from ovseg.datasets.image_files import left_out
from ovseg.datasets.originals import pipeline_with_original
from ovseg.errors import UserError, nearest
from ovseg.folders import walk_files
from ovseg.images.pipeline import LOADERS, Step, pipeline_with_resize
from ovseg.images.reading import IMAGE_SUFFIXES
from ovseg.line_lists import read_lines
from ovseg.registry import DATASETS


@DATASETS.register_module()
class ImageFolderDataset(CheckedDataset):
    """All images below a folder, in the order of their paths; there are no labels.

    Samples have ``img_path`` and what mmseg's transforms read, so any pipeline without a step that
    loads labels fits.

    Args:
        data_root: the folder; folders in it and linked ones are searched too, hidden files and
            folders are not. Images of other kinds are left out, which is said.
        data_prefix: ``dict(img_path=...)`` names a folder below ``data_root``, as in mmseg.
        ann_file: list of the images to use, in this order: paths below the folder, one a line,
            with or without their suffix. Empty for all.
        suffixes: which files are images, in any case of letters.
        indices: positions of the images to use, in this order: a sequence of numbers, or the path
            of a text file with one number a line; or how many from the first (from the last, if it
            is below 0). None for all.
        num_images: how many of these to use, from the first. None for all.
        pipeline: steps as in mmseg.
        resize: the resize rule, right after loading, or None to keep the images' size.
        keep_original: hand the image on at its own size, too.
        suppress_labels: 'all' marks every pixel as unlabelled (``SuppressLabels``), where the
            pipeline would load labels; for training with pseudo labels.
        kwargs: as in ``BaseSegDataset``; what is about labels or other places is refused.

    Raises:
        FileNotFoundError: no such folder, or no image in it; no such list or file of numbers.
        UserError: positions that do not exist, or a ``num_images`` that there is no way to give;
            see also :class:`CheckedDataset`.
    """

    UNREAD: ClassVar[Mapping[str, str]] = {
        'img_suffix': 'suffixes says which files are images',
        'backend_args': 'the images are files of this machine',
        'seg_map_suffix': 'it has no labels; LabelledFolderDataset has',
        'reduce_zero_label': 'it has no labels; LabelledFolderDataset has',
        'ignore_index': 'it has no labels; LabelledFolderDataset has',
    }
    FOLDERS: ClassVar[tuple[str, ...]] = ('img_path',)

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str] | None = None,
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        indices: Sequence[int] | str | int | None = None,
        num_images: int | None = None,
        pipeline: Sequence[Step] = (),
        resize: dict[str, Any] | None = None,
        suppress_labels: Sequence[int] | str | None = None,
        keep_original: bool = False,
        **kwargs: Any,
    ) -> None:
        steps = pipeline_with_resize(pipeline_with_suppression(pipeline, suppress_labels), resize)
        self.suffixes = tuple(suffix.lower() for suffix in suffixes)
        self.resize = resize
        self._chosen = indices
        self._num_images = num_images
        super().__init__(
            data_root=os.path.expanduser(data_root),
            data_prefix={'img_path': '', **(data_prefix or {})},
            pipeline=pipeline_with_original(steps, keep_original, LOADERS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One sample an image.

        Raises:
            FileNotFoundError: see the class.
            UserError: see the class.
        """
        folder = self.data_prefix['img_path'] or self.data_root
        paths = self._find(folder)
        if self.ann_file:
            paths = _named(paths, folder, self.ann_file)
        paths = [paths[index] for index in self._positions(len(paths), folder)]
        if self._num_images is not None:
            if not 1 <= self._num_images <= len(paths):
                raise UserError(
                    f'{type(self).__name__}: num_images must be 1 to {len(paths)}, the number of '
                    f'images of {folder}, got {self._num_images}'
                )
            paths = paths[: self._num_images]
        return [
            {
                'img_path': path,
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            for path in paths
        ]

    def _find(self, folder: str) -> list[str]:
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'{type(self).__name__}: there is no folder {os.path.abspath(folder)}; set '
                'data_root to the folder of your images'
            )
        files = sorted(map(str, walk_files(folder)))
        found = self._images_of([name for name in files if name.lower().endswith(self.suffixes)])
        if not found:
            raise FileNotFoundError(
                f'{type(self).__name__}: the folder {os.path.abspath(folder)} has no images in it '
                f'(looked for {" ".join(self.suffixes)})'
            )
        others = left_out(files, self.suffixes)
        if others:
            MMLogger.get_current_instance().warning(f'{type(self).__name__} of {folder}: {others}')
        return found

    def _images_of(self, paths: list[str]) -> list[str]:
        """Those of the files of a folder that are images of the data set."""
        return paths

    def _positions(self, count: int, folder: str) -> Sequence[int]:
        if self._chosen is None:
            return range(count)
        if isinstance(self._chosen, int):
            number = self._chosen
            if not number or isinstance(number, bool):
                raise UserError(
                    f'{type(self).__name__}.indices is {number}; give a number of images'
                )
            return range(count)[:number] if number > 0 else range(count)[number:]
        positions = self._chosen
        if isinstance(positions, str | os.PathLike):
            positions = _read_numbers(Path(positions))
        wrong = [index for index in positions if not 0 <= index < count]
        if wrong or not len(positions):
            what = f'names image {wrong[0]}' if wrong else 'is empty'
            raise UserError(
                f'{type(self).__name__}: indices {what}, but the {count} images of {folder} are '
                f'numbered 0 to {count - 1}'
            )
        return positions


def _named(paths: Sequence[str], folder: str, listed: str) -> list[str]:
    """The images that a list names, in its order."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        name = os.path.relpath(path, folder)
        for known in {name, os.path.splitext(name)[0]}:
            by_name.setdefault(known, []).append(path)
    found = []
    for line, name in read_lines(listed, 'images'):
        fits = by_name.get(os.path.normpath(name), [])
        if len(fits) != 1:
            what = f'{" and ".join(fits)} are both' if fits else 'no image of the data set is'
            hint = '' if fits else nearest(name, by_name)
            suffix = ', with its suffix' if fits else ''
            raise UserError(
                f"{listed}, line {line}: {what} '{name}' in {folder}; write the path below that "
                f'folder{suffix}.{hint}'
            )
        found.append(fits[0])
    return found


def _read_numbers(path: Path) -> list[int]:
    numbers = []
    for line, text in read_lines(path, 'image numbers (indices)'):
        try:
            numbers.append(int(text))
        except ValueError as error:
            raise UserError(
                f'{path}, line {line}: {text!r} is no whole number; write one image number a line'
            ) from error
    return numbers
