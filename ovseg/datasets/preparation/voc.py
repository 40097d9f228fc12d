"""Check Pascal VOC 2012 for VOC20 and VOC21; its palette PNGs are used as they are.

DATA_ROOT is the folder VOC2012 of the devkit, with JPEGImages, SegmentationClass and ImageSets.
The split trainaug has the labels of SBD beside: the folder SegmentationClassAug with a map for
every image of ImageSets/Segmentation/trainaug.txt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import read_names, require_folder

IMAGES = {'val': 1449, 'train': 1464, 'trainaug': 10582}
LABELS = {'trainaug': 'SegmentationClassAug'}


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import VOC21Dataset

    images = require_folder(root / 'JPEGImages', 'the images of VOC 2012')
    lists = root / 'ImageSets' / 'Segmentation'
    for split in splits:
        folder = root / LABELS.get(split, 'SegmentationClass')
        labels = require_folder(folder, f'the label maps of VOC 2012 {split}')
        names = read_names(lists / f'{split}.txt', f'the list of {split} images')
        items = [Item(images / f'{name}.jpg', labels / f'{name}.png') for name in names]
        yield Recipe(f'VOC 2012 {split}', VOC21Dataset, IMAGES[split]), items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder VOC2012, e.g. data/VOCdevkit/VOC2012',
    datasets=('voc20', 'voc21'),
    splits=tuple(IMAGES),
    recipes=recipes,
)
