"""Make Cityscapes' 19-class labels (*_labelTrainIds.png) from its *_labelIds.png.

DATA_ROOT is the folder with leftImg8bit and gtFine. Files that the authors' own scripts have made
are kept. The result is theirs: they draw the same polygons with the other numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.renumbering import renumber
from ovseg.datasets.preparation.sources import pair_items

IMAGES = {'val': 500, 'train': 2975}
IGNORED = 255
# Label ids of the 19 evaluated classes, in the order of the training ids 0 to 18.
# Source: Cordts et al., cityscapesScripts, helpers/labels.py.
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
TRAIN_IDS = {label: IGNORED for label in (*range(34), IGNORED)} | {
    label: train_id for train_id, label in enumerate(EVALUATED)
}


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import CityscapesSegDataset

    convert = partial(renumber, table=TRAIN_IDS, content='a label map of gtFine')
    for split in splits:
        title = f'Cityscapes {split}'
        folders = root / 'leftImg8bit' / split, root / 'gtFine' / split
        items = pair_items(CityscapesSegDataset, *folders, title, '_gtFine_labelIds.png')
        yield Recipe(title, CityscapesSegDataset, IMAGES[split], convert), items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder of Cityscapes, e.g. data/cityscapes',
    datasets=('cityscapes',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
