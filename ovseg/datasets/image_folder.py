"""A folder of images without labels, as a data set to train on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovseg.compat.mmseg_datasets import BaseSegDataset
from ovseg.datasets.base import pipeline_with_suppression
from ovseg.datasets.originals import pipeline_with_original
from ovseg.errors import UserError
from ovseg.folders import walk_files
from ovseg.images.pipeline import LOADERS, Step, pipeline_with_resize
from ovseg.input_files import read_text
from ovseg.registry import DATASETS, in_our_scope

# What OpenCV reads in every build.
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class ImageFolderDataset(BaseSegDataset):
    """All images below a folder, in the order of their paths; there are no labels.

    Samples have ``img_path`` and what mmseg's transforms read, so any pipeline without a step that
    loads labels fits.

    Args:
        data_root: the folder; folders in it are searched too, hidden files and folders are not.
        data_prefix: ``dict(img_path=...)`` names a folder below ``data_root``, as in mmseg.
        suffixes: which files are images, in any case of letters.
        indices: positions of the images to use, in this order: a sequence of numbers, or the path
            of a text file with one number a line. None for all.
        num_images: how many of these to use, from the first. None for all.
        pipeline: steps as in mmseg.
        resize: the resize rule, right after loading, or None to keep the images' size.
        keep_original: hand the image on at its own size, too.
        suppress_labels: 'all' marks every pixel as unlabelled (``SuppressLabels``), where the
            pipeline would load labels; for training with pseudo labels.
        kwargs: as in ``BaseSegDataset``.

    Raises:
        FileNotFoundError: no such folder, or no image in it; no such file of numbers.
        UserError: positions that do not exist, or a ``num_images`` that there is no way to give.
    """

    @in_our_scope
    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str] | None = None,
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        indices: Sequence[int] | str | None = None,
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
            data_root=str(Path(data_root).expanduser()),
            data_prefix=data_prefix or {'img_path': ''},
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
        found = [
            str(path) for path in walk_files(folder) if path.name.lower().endswith(self.suffixes)
        ]
        if not found:
            raise FileNotFoundError(
                f'{type(self).__name__}: the folder {os.path.abspath(folder)} has no images in it '
                f'(looked for {" ".join(self.suffixes)})'
            )
        return sorted(found)

    def _positions(self, count: int, folder: str) -> Sequence[int]:
        if self._chosen is None:
            return range(count)
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


def _read_numbers(path: Path) -> list[int]:
    numbers = []
    for line, text in enumerate(
        read_text(path, 'file of image numbers (indices)').splitlines(), start=1
    ):
        if text.strip():
            try:
                numbers.append(int(text))
            except ValueError as error:
                raise UserError(
                    f'{path}, line {line}: {text.strip()!r} is no whole number; write one image '
                    'number a line'
                ) from error
    return numbers
