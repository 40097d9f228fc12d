"""What COCO-Stuff 164k and COCO-Object share: one folder of pixel maps, numbered anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ovseg.datasets.preparation.recipe import Item, Recipe
from ovseg.datasets.preparation.renumbering import renumber
from ovseg.datasets.preparation.sources import pair_items

ROOT = 'the folder of COCO-Stuff 164k, e.g. data/coco_stuff164k'
IMAGES = {'val': 5000, 'train': 118287}


def recipes(
    root: Path,
    splits: Sequence[str],
    title: str,
    dataset: str,
    table: Mapping[int, int],
) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split.

    Args:
        root: the folder of COCO-Stuff 164k.
        splits: of ``IMAGES``.
        title: the data set, for messages.
        dataset: name of the class in ``ovseg.datasets`` that reads the labels.
        table: value in the pixel maps to label.
    """
    from ovseg import datasets

    reader = getattr(datasets, dataset)
    convert = partial(renumber, table=table, content='a pixel map of COCO-Stuff')
    for split in splits:
        name = f'{split}2017'
        folders = root / 'images' / name, root / 'annotations' / name
        items = pair_items(reader, *folders, f'COCO {name}', '.png')
        yield Recipe(f'{title} {split}', reader, IMAGES[split], convert), items
