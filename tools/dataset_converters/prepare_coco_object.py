"""Make the labels of COCO-Object (*_instanceTrainIds.png) from COCO-Stuff's pixel maps.

DATA_ROOT is the folder of COCO-Stuff 164k: images/val2017/*.jpg and, unpacked from
stuffthingmaps_trainval2017.zip, annotations/val2017/*.png (and the same for train2017).
80 things count from 1; all stuff and every unlabelled pixel is background, label 0, as in the
converter of GroupViT that the published numbers rest on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.datasets import COCOObjectDataset
from ovseg.datasets.coco import NUM_THINGS, PIXEL_VALUES, UNLABELLED
from ovseg.datasets.preparation import parse_arguments
from ovseg.datasets.renumbering import Split, renumber_splits
from ovseg.errors import run_cli

IMAGES = {'val': 5000, 'train': 118287}
BACKGROUND = 0
TABLE = {
    value: label + 1 if label < NUM_THINGS else BACKGROUND
    for label, value in enumerate(PIXEL_VALUES)
} | {UNLABELLED: BACKGROUND}


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder of COCO-Stuff 164k, e.g. data/coco_stuff164k', argv, tuple(IMAGES)
    )
    root = args.data_root
    splits = {
        name: Split(
            f'COCO-Object {name}',
            f'COCO {name}2017',
            root / 'images' / f'{name}2017',
            root / 'annotations' / f'{name}2017',
            count,
        )
        for name, count in IMAGES.items()
    }
    return renumber_splits(
        COCOObjectDataset, splits, TABLE, 'a pixel map of COCO-Stuff', '.png', args
    )


if __name__ == '__main__':
    sys.exit(run_cli(main))
