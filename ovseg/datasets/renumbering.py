"""Preparing data sets whose labels are label maps of another numbering, split by split."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.loading import decode_labels
from ovseg.datasets.preparation import (
    Item,
    Recipe,
    apply_table,
    pair_items,
    prepare,
    require_file,
)


@dataclass(frozen=True)
class Split:
    """One split of a data set, in words and folders.

    Attributes:
        title: of what is made, for progress and results.
        found_in: what the raw files belong to, for messages.
        images: folder of the images.
        labels: folder of the raw label maps; the new ones are written beside them.
        count: number of images that the whole split has.
    """

    title: str
    found_in: str
    images: Path
    labels: Path
    count: int


def renumber(item: Item, table: dict[int, int], content: str) -> npt.NDArray[np.uint8]:
    """Labels (H, W) of one image: its raw label map with each value replaced.

    Args:
        item: the image and its raw label map.
        table: raw value to label.
        content: what the raw file is, for messages.
    """
    source = require_file(item.source, content)
    return apply_table(decode_labels(source.read_bytes(), source), table, source)


def renumber_splits(
    dataset: type[LabelMapDataset],
    splits: Mapping[str, Split],
    table: dict[int, int],
    content: str,
    suffix: str,
    args: argparse.Namespace,
) -> int:
    """Converts and checks the splits asked for, and returns the exit code.

    Args:
        dataset: reads the result.
        splits: all splits by name.
        table: raw value to label.
        content: what a raw file is, for messages.
        suffix: of the raw label maps.
        args: the command line, see :func:`~ovseg.datasets.preparation.parse_arguments`.
    """
    code = 0
    convert = partial(renumber, table=table, content=content)
    for name in args.splits:
        split = splits[name]
        items = pair_items(dataset, split.images, split.labels, split.found_in, suffix)
        recipe = Recipe(split.title, dataset, split.count, convert)
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code
