"""Preparing label maps: convert what is missing, check everything, say what is wrong.

The module of a data set lists its images and gives a function that makes the labels of one image;
all else is here. Files are written whole or not at all, so a run that was interrupted goes on where
it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg.datasets.label_orientation import fit_to_upright, is_ambiguous
from ovseg.errors import EXIT_NOTHING_DONE, EXIT_OK, EXIT_SOME_FAILED, UserError
from ovseg.files import CannotWrite, written_whole
from ovseg.images.opening import opened
from ovseg.input_files import regular_file
from ovseg.progress import with_progress

if TYPE_CHECKING:
    from ovseg.datasets.checked import CheckedDataset
from ovseg.images.orientation import exif_orientation, upright_size

Labels = npt.NDArray[np.integer]
_SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Item:
    """One image and its label map.

    Attributes:
        image: the image as the data set reads it; labels must have its size.
        labels: the label file that the data set reads.
        source: what the labels are made from, for ``convert``.
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
        check: instead of the check of label maps: looks through a finished item and returns the
            classes in it, and what ``finish`` wants to know of it; a function of a module, too.
        finish: writes what the whole set has in common, once all items are good.
    """

    title: str
    dataset: type[CheckedDataset]
    expected: int
    convert: Callable[[Item], Labels] | None = None
    makes_images: bool = False
    check: Callable[[Item], tuple[frozenset[int], Any]] | None = None
    finish: Callable[[Sequence[Any]], None] | None = None


@dataclass(frozen=True)
class Preparation:
    """A data set that can be prepared.

    Attributes:
        about: what is read and written, the first line in short.
        root: what the folder DATA_ROOT is, with an example.
        datasets: names of the data sets that read the result, as in ``configs/_base_/datasets``.
        splits: those that can be prepared, the first is the default.
        recipes: for DATA_ROOT (an absolute path) and the splits wanted, each recipe with its
            images.
    """

    about: str | None
    root: str
    datasets: tuple[str, ...]
    splits: tuple[str, ...]
    recipes: Callable[[Path, Sequence[str]], Iterator[tuple[Recipe, Sequence[Item]]]]


@dataclass(frozen=True)
class _Outcome:
    written: bool
    values: frozenset[int] = frozenset()
    turned: Path | None = None
    noted: Any = None
    failure: str | None = None


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
        UserError: another number of images than the split has, and that is not allowed; or the
            disk is full, what was written stays.
    """
    _check_count(recipe, len(items), allow_partial)
    failures: list[str] = []
    values: set[int] = set()
    turned: list[Path] = []
    written = 0
    noted: list[Any] = []
    found = _outcomes(recipe, items, workers)
    for outcome in with_progress(found, len(items), 'image', recipe.title):
        written += outcome.written
        values |= outcome.values
        turned.extend([outcome.turned] if outcome.turned else [])
        noted.append(outcome.noted)
        if outcome.failure:
            failures.append(outcome.failure)
    if recipe.finish is not None and not failures:
        recipe.finish(noted)
    _report(recipe, len(items), written, values, failures)
    if turned:
        print(
            f'note: {len(turned)} images have an EXIF orientation and are turned upright, such as '
            f'{turned[0]}; their label maps are taken as drawn on the upright images, set '
            "labels_drawn_on='stored' in the data set if they are drawn on the stored pixels"
        )
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
        return _looked_at(item, recipe, written=False)
    except (FileNotFoundError, UserError) as error:
        if recipe.convert is None:
            return _Outcome(written=False, failure=str(error))
    try:
        write_labels(item.labels, recipe.convert(item))
        return _looked_at(item, recipe, written=True)
    except Exception as error:  # whatever a reader raises: one bad file of thousands is reported
        if isinstance(error, CannotWrite) and error.ends_run:
            raise
        reason = str(error) or type(error).__name__
        named = str(item.labels) in reason or str(item.image) in reason
        return _Outcome(written=False, failure=reason if named else f'{item.labels}: {reason}')


def _looked_at(item: Item, recipe: Recipe, written: bool) -> _Outcome:
    if recipe.check is not None:
        values, noted = recipe.check(item)
        return _Outcome(written, values, noted=noted)
    return _Outcome(written, *_check(item, recipe))


def write_labels(path: Path, labels: Labels) -> None:
    """Write labels (H, W), uint8 or uint16, or colours (H, W, 3), as the suffix says."""
    with written_whole(path) as temporary:
        Image.fromarray(labels).save(temporary)


def _check(item: Item, recipe: Recipe) -> tuple[frozenset[int], Path | None]:
    """The label values of a finished item, and its image if it is turned and could be either way.

    Raises:
        FileNotFoundError: no image or no labels.
        UserError: unreadable, of another size than the image, or with values of no class.
    """
    from ovseg.datasets.loading import read_labels

    for path in (item.image, item.labels):
        try:
            regular_file(path)
        except FileNotFoundError:
            raise FileNotFoundError(f'no file {path}') from None
    raw = read_labels(item.labels)
    size, orientation = size_and_orientation(item.image, whole=recipe.makes_images)
    labels = fit_to_upright(raw, size, orientation, 'upright', item.labels)
    turned = item.image if is_ambiguous(raw.shape, orientation) else None
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    dataset = recipe.dataset
    ignored = getattr(dataset, 'IGNORED_LABELS', ())
    wrong = values[(values >= label_values(dataset)) & ~np.isin(values, ignored)]
    if len(wrong):
        raise UserError(
            f'{item.labels} holds the label {wrong[0]}, '
            f'this data set has 0 to {label_values(dataset) - 1}'
        )
    return frozenset(values.tolist()), turned


def size_and_orientation(path: Path, whole: bool) -> tuple[tuple[int, int], int]:
    """(height, width) of the upright image, its EXIF orientation.

    Args:
        path: of the image.
        whole: decode all of it, which finds what is cut off.
    """
    with opened(path, decode=whole) as image:
        orientation = exif_orientation(image)
        return upright_size((image.height, image.width), orientation), orientation


def _zero_is_other(dataset: type[CheckedDataset]) -> bool:
    return getattr(dataset, 'REDUCE_ZERO_LABEL', False)


def label_values(dataset: type[CheckedDataset]) -> int:
    """How many values mean a class in the label files, with 0 for "other" if it is there."""
    return len(dataset.METAINFO['classes']) + _zero_is_other(dataset)


def _report(
    recipe: Recipe, total: int, written: int, values: Iterable[int], failures: Sequence[str]
) -> None:
    count = label_values(recipe.dataset)
    first = int(_zero_is_other(recipe.dataset))
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
