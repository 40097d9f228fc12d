"""Preparing label maps: convert what is missing, check everything, say what is wrong.

The scripts in ``tools/dataset_converters`` list the images of a data set and give a function that
makes the labels of one image; all else is here. Files are written whole or not at all, so a run
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.loading import decode_labels
from ovseg.errors import EXIT_NOTHING_DONE, EXIT_OK, EXIT_SOME_FAILED, UserError
from ovseg.files import written_whole

Labels = npt.NDArray[np.integer]
_SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Item:
    """One image and its label map.

    Attributes:
        image: the image as the data set reads it; labels must have its size.
        labels: the label file that the data set reads.
        source: what the labels are made from, for the script's own ``convert``.
    """

    image: Path
    labels: Path
    source: Any = None


@dataclass(frozen=True)
class Recipe:
    """How the labels of a data set are made and what they may hold.

    Attributes:
        title: the data set and split, for messages.
        dataset: the class that will read the result; it knows which values are labels.
        expected: how many images the split has.
        convert: makes the labels (H, W) of an item, uint8 or uint16; None if they come ready. It
            must be a function of a module, because it is sent to worker processes.
        makes_images: ``convert`` also writes the item's image, so that is checked whole as well.
    """

    title: str
    dataset: type[LabelMapDataset]
    expected: int
    convert: Callable[[Item], Labels] | None = None
    makes_images: bool = False


@dataclass(frozen=True)
class _Outcome:
    written: bool
    values: frozenset[int] = frozenset()
    failure: str | None = None


def parse_arguments(
    description: str | None, root: str, argv: Sequence[str] | None, splits: Sequence[str] = ('val',)
) -> argparse.Namespace:
    """The arguments that all preparation scripts share.

    Args:
        description: the script's docstring.
        root: what the folder DATA_ROOT is, with an example.
        argv: arguments, None for those of the process.
        splits: which splits the script can prepare, the first is the default.

    Returns:
        A namespace with ``data_root`` (absolute path), ``workers``, ``allow_partial``, ``splits``.

    Raises:
        FileNotFoundError: DATA_ROOT is not a folder.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root', metavar='DATA_ROOT', type=Path, help=root)
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)'
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='accept another number of images than the full split has',
    )
    parser.add_argument(
        '--splits', nargs='+', choices=splits, default=[splits[0]], help='default: %(default)s'
    )
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error('--workers must be at least 1')
    arguments.data_root = arguments.data_root.expanduser().absolute()
    require_folder(arguments.data_root, root)
    return arguments


def require_folder(path: Path, content: str) -> Path:
    """``path``, if it is a folder.

    Raises:
        FileNotFoundError: it is not; the message names the folder and what it should hold.
    """
    if not path.is_dir():
        raise FileNotFoundError(f'no folder {path}: it should be {content} (docs/data.md)')
    return path


def require_file(path: Path, content: str) -> Path:
    """``path``, if it is a file.

    Raises:
        FileNotFoundError: it is not; the message names the file and what it should hold.
    """
    if not path.is_file():
        raise FileNotFoundError(f'no file {path}: it should be {content} (docs/data.md)')
    return path


def read_names(path: Path, content: str) -> list[str]:
    """The image names in a list, one a line, without suffix.

    Raises:
        FileNotFoundError: no such file.
        UserError: an empty file.
    """
    names = require_file(path, content).read_text(encoding='utf-8').split()
    if not names:
        raise UserError(f'{path} names no images, copy it again from the data set')
    return names


def find_images(folder: Path, suffix: str, content: str) -> list[Path]:
    """All files of a folder and its subfolders that end in ``suffix``, sorted.

    Raises:
        FileNotFoundError: no such folder, or no such file in it.
    """
    found = sorted(require_folder(folder, content).rglob(f'[!.]*{suffix}'))
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


def apply_table(raw: Labels, table: dict[int, int], source: Path) -> npt.NDArray[np.uint8]:
    """Labels (H, W) with every value looked up in ``table``.

    Raises:
        UserError: a value that is not in the table, which means a wrong source file.
    """
    wanted = np.flatnonzero(np.bincount(raw.ravel(), minlength=1))
    for value in wanted.tolist():
        if value not in table:
            raise UserError(f'{source} holds the value {value}, which the data set does not have')
    lookup = np.zeros(int(wanted[-1]) + 1, np.uint8)
    for value in wanted.tolist():
        lookup[value] = table[value]
    return lookup[raw]


def prepare(
    recipe: Recipe, items: Sequence[Item], workers: int = 1, allow_partial: bool = False
) -> int:
    """Make the labels that are missing or broken, check all, and print a summary.

    Args:
        recipe: the data set.
        items: its images.
        workers: processes; 1 works in this one.
        allow_partial: accept another number of images than the full split has.

    Returns:
        0 if all labels are good, 1 if some images failed (listed on stderr), 2 if all did.

    Raises:
        UserError: another number of images than the split has, and that is not allowed.
    """
    _check_count(recipe, len(items), allow_partial)
    failures: list[str] = []
    values: set[int] = set()
    written = 0
    for outcome in tqdm(
        _outcomes(recipe, items, workers), total=len(items), desc=recipe.title, unit='image'
    ):
        written += outcome.written
        values |= outcome.values
        if outcome.failure:
            failures.append(outcome.failure)
    _report(recipe, len(items), written, values, failures)
    if not failures:
        return EXIT_OK
    return EXIT_SOME_FAILED if len(failures) < len(items) else EXIT_NOTHING_DONE


def _check_count(recipe: Recipe, found: int, allow_partial: bool) -> None:
    if found == recipe.expected:
        return
    message = f'{recipe.title} has {recipe.expected} images but {found} were found'
    if not allow_partial:
        raise UserError(
            f'{message}: complete the download, or pass --allow-partial to use what is there'
        )
    print(f'note: {message}')


def _outcomes(recipe: Recipe, items: Sequence[Item], workers: int) -> Iterator[_Outcome]:
    process = partial(_process, recipe=recipe)
    if workers == 1:
        yield from map(process, items)
        return
    with ProcessPoolExecutor(min(workers, len(items))) as pool:
        yield from pool.map(process, items, chunksize=max(1, min(16, len(items) // workers)))


def _process(item: Item, recipe: Recipe) -> _Outcome:
    try:
        return _Outcome(written=False, values=_check(item, recipe))
    except (FileNotFoundError, UserError) as error:
        if recipe.convert is None:
            return _Outcome(written=False, failure=str(error))
    try:
        write_labels(item.labels, recipe.convert(item))
        return _Outcome(written=True, values=_check(item, recipe))
    except Exception as error:  # whatever a reader raises: one bad file of thousands is reported
        reason = str(error) or type(error).__name__
        named = str(item.labels) in reason or str(item.image) in reason
        return _Outcome(written=False, failure=reason if named else f'{item.labels}: {reason}')


def write_labels(path: Path, labels: Labels) -> None:
    """Write labels (H, W), uint8 or uint16, in the format that the suffix names."""
    with written_whole(path) as temporary:
        Image.fromarray(labels).save(temporary)


def _check(item: Item, recipe: Recipe) -> frozenset[int]:
    """The label values of a finished item.

    Raises:
        FileNotFoundError: no image or no labels.
        UserError: unreadable, of another size than the image, or with values of no class.
    """
    for path in (item.image, item.labels):
        if not path.is_file():
            raise FileNotFoundError(f'no file {path}')
    labels = decode_labels(item.labels.read_bytes(), item.labels)
    size = _image_size(item.image, whole=recipe.makes_images)
    if labels.shape != size:
        raise UserError(f'{item.labels} has the size {labels.shape}, {item.image} has {size}')
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    dataset = recipe.dataset
    wrong = values[(values >= label_values(dataset)) & ~np.isin(values, dataset.IGNORED_LABELS)]
    if len(wrong):
        raise UserError(
            f'{item.labels} holds the label {wrong[0]}, '
            f'this data set has 0 to {label_values(dataset) - 1}'
        )
    return frozenset(values.tolist())


def _image_size(path: Path, whole: bool) -> tuple[int, int]:
    """(height, width) of an image; ``whole`` decodes all of it to see that it is complete."""
    try:
        with Image.open(path) as image:
            if whole:
                image.load()
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise UserError(f'cannot read the image {path} ({error}), copy it again') from error


def label_values(dataset: type[LabelMapDataset]) -> int:
    """How many values mean a class in the label files, with 0 for "other" if it is there."""
    return len(dataset.METAINFO['classes']) + dataset.REDUCE_ZERO_LABEL


def _report(
    recipe: Recipe, total: int, written: int, values: Iterable[int], failures: Sequence[str]
) -> None:
    count = label_values(recipe.dataset)
    first = int(recipe.dataset.REDUCE_ZERO_LABEL)
    present = sum(first <= value < count for value in values)
    good = total - len(failures)
    print(
        f'{recipe.title}: {good} of {total} label maps are good ({written} written now, '
        f'{good - written} were there); {present} of {count - first} classes occur.'
    )
    for failure in failures[:_SHOWN_FAILURES]:
        print(f'failed: {failure}', file=sys.stderr)
    if len(failures) > _SHOWN_FAILURES:
        print(f'failed: {len(failures) - _SHOWN_FAILURES} more', file=sys.stderr)
