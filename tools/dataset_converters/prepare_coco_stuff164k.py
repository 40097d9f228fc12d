"""Make the 171-class labels (*_labelTrainIds.png) of COCO-Stuff 164k from its pixel maps.

DATA_ROOT holds images/val2017/*.jpg and, unpacked from stuffthingmaps_trainval2017.zip,
annotations/val2017/*.png (and the same for train2017).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.datasets import COCOStuff164kDataset
from ovseg.datasets.coco import PIXEL_VALUES, UNLABELLED
from ovseg.datasets.preparation import parse_arguments
from ovseg.datasets.renumbering import Split, renumber_splits
from ovseg.errors import run_cli

IMAGES = {'val': 5000, 'train': 118287}
TABLE = {value: label for label, value in enumerate(PIXEL_VALUES)} | {UNLABELLED: UNLABELLED}


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder of COCO-Stuff 164k, e.g. data/coco_stuff164k', argv, tuple(IMAGES)
    )
    root = args.data_root
    splits = {
        name: Split(
            f'COCO-Stuff 164k {name}',
            f'COCO {name}2017',
            root / 'images' / f'{name}2017',
            root / 'annotations' / f'{name}2017',
            count,
        )
        for name, count in IMAGES.items()
    }
    return renumber_splits(
        COCOStuff164kDataset, splits, TABLE, 'a pixel map of COCO-Stuff', '.png', args
    )


if __name__ == '__main__':
    sys.exit(run_cli(main))
