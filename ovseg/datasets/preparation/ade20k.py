"""Check ADE20K-150 (ADEChallengeData2016); its files are used as they are.

DATA_ROOT is the folder ADEChallengeData2016, with images and annotations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import pair_items

IMAGES = {'val': 2000, 'train': 20210}
FOLDERS = {'val': 'validation', 'train': 'training'}


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import ADE20K150Dataset

    for split in splits:
        folder = FOLDERS[split]
        items = pair_items(
            ADE20K150Dataset,
            root / 'images' / folder,
            root / 'annotations' / folder,
            f'ADE20K {split}',
        )
        yield Recipe(f'ADE20K-150 {split}', ADE20K150Dataset, IMAGES[split]), items


PREPARATION = Preparation(
    about=__doc__,
    root='ADEChallengeData2016, e.g. data/ade/ADEChallengeData2016',
    datasets=('ade20k',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
