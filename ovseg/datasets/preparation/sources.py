"""Finding the files of a data set: what is not there is said in one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg.datasets.preparation.recipe import Item
from ovseg.folders import walk_files
from ovseg.input_files import regular_file
from ovseg.line_lists import read_lines, without_suffix

if TYPE_CHECKING:
    from ovseg.datasets.base import LabelMapDataset


def require_folder(path: Path, content: str) -> Path:
    """``path``, if it is a folder.

    Raises:
        FileNotFoundError: it is not; the message names the folder and what it should hold.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f'no folder {path}: it should be {content} (docs/data.md)')
    return path


def require_file(path: Path, content: str) -> Path:
    """``path``, if it is a file.

    Raises:
        FileNotFoundError: it is not; the message names the file and what it should hold.
        UserError: something else lies there, or the system refuses the path.
    """
    try:
        return regular_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f'no file {path}: it should be {content} (docs/data.md)') from None


def read_names(path: Path, content: str, suffix: str = '.jpg') -> list[str]:
    """The image names in a list, one a line, without suffix; as the data sets read it.

    Args:
        path: of the list.
        content: what it is, for messages.
        suffix: of the images, which a list may or may not write.

    Raises:
        FileNotFoundError: no such file.
        UserError: an empty file, or no text.
    """
    return without_suffix(read_lines(require_file(path, content), 'images'), suffix)


def find_images(folder: Path, suffix: str, content: str) -> list[Path]:
    """All files of a folder and its subfolders that end in ``suffix``, sorted.

    Raises:
        FileNotFoundError: no such folder, or no such file in it.
    """
    require_folder(folder, content)
    found = sorted(path for path in walk_files(folder) if path.name.endswith(suffix))
    if not found:
        raise FileNotFoundError(f'no *{suffix} in {folder}: it should be {content} (docs/data.md)')
    return found


def pair_items(
    dataset: type[LabelMapDataset],
    images: Path,
    labels: Path,
    content: str,
    source_suffix: str | None = None,
) -> list[Item]:
    """One item for each image of a folder, with labels at the same place of another folder.

    Args:
        dataset: its suffixes name the files.
        images: folder of images, subfolders included.
        labels: folder of labels with the same subfolders.
        content: what the two folders hold, for errors.
        source_suffix: if given, ``Item.source`` is the file beside the labels that ends so.

    Raises:
        FileNotFoundError: a missing folder, a folder without images.
    """
    found = find_images(images, dataset.IMG_SUFFIX, f'the images of {content}')
    require_folder(labels, f'the label maps of {content}')
    items = []
    for image in found:
        start = str(labels / image.relative_to(images)).removesuffix(dataset.IMG_SUFFIX)
        source = None if source_suffix is None else Path(start + source_suffix)
        items.append(Item(image, Path(start + dataset.SEG_MAP_SUFFIX), source))
    return items
