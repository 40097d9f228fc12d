"""Check Pascal VOC 2012 for VOC20 and VOC21; its palette PNGs are used as they are.

DATA_ROOT is the folder VOC2012 of the devkit, with JPEGImages, SegmentationClass and ImageSets.
The split trainaug has the labels of SBD beside: the folder SegmentationClassAug with a map for
every image of ImageSets/Segmentation/trainaug.txt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.datasets import VOC21Dataset
from ovseg.datasets.preparation import (
    Item,
    Recipe,
    parse_arguments,
    prepare,
    read_names,
    require_folder,
)
from ovseg.errors import run_cli

IMAGES = {'val': 1449, 'train': 1464, 'trainaug': 10582}
LABELS = {'trainaug': 'SegmentationClassAug'}


def main(argv: Sequence[str] | None = None) -> int:
    """Check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder VOC2012, e.g. data/VOCdevkit/VOC2012', argv, tuple(IMAGES)
    )
    images = require_folder(args.data_root / 'JPEGImages', 'the images of VOC 2012')
    lists = args.data_root / 'ImageSets' / 'Segmentation'
    code = 0
    for split in args.splits:
        folder = args.data_root / LABELS.get(split, 'SegmentationClass')
        labels = require_folder(folder, f'the label maps of VOC 2012 {split}')
        names = read_names(lists / f'{split}.txt', f'the list of {split} images')
        items = [Item(images / f'{name}.jpg', labels / f'{name}.png') for name in names]
        recipe = Recipe(f'VOC 2012 {split}', VOC21Dataset, IMAGES[split])
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


if __name__ == '__main__':
    sys.exit(run_cli(main))
