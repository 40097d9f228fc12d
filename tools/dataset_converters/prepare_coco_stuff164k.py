"""Make the 171-class labels (*_labelTrainIds.png) of COCO-Stuff 164k from its pixel maps.

DATA_ROOT holds images/val2017/*.jpg and, unpacked from stuffthingmaps_trainval2017.zip,
annotations/val2017/*.png (and the same for train2017).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovseg.datasets import COCOStuff164kDataset
from ovseg.datasets.coco import PIXEL_VALUES, UNLABELLED
from ovseg.datasets.loading import decode_labels
from ovseg.datasets.preparation import (
    Item,
    Recipe,
    apply_table,
    pair_items,
    parse_arguments,
    prepare,
    require_file,
)
from ovseg.errors import run_cli

IMAGES = {'val': 5000, 'train': 118287}
TABLE = {value: label for label, value in enumerate(PIXEL_VALUES)} | {UNLABELLED: UNLABELLED}


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """Labels 0 to 170 (H, W) from a pixel map; 255 stays 255."""
    source = require_file(item.source, 'a pixel map of COCO-Stuff')
    return apply_table(decode_labels(source.read_bytes(), source), TABLE, source)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder of COCO-Stuff 164k, e.g. data/coco_stuff164k', argv, tuple(IMAGES)
    )
    code = 0
    for split in args.splits:
        items = pair_items(
            COCOStuff164kDataset,
            args.data_root / 'images' / f'{split}2017',
            args.data_root / 'annotations' / f'{split}2017',
            f'COCO {split}2017',
            '.png',
        )
        recipe = Recipe(f'COCO-Stuff 164k {split}', COCOStuff164kDataset, IMAGES[split], convert)
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


if __name__ == '__main__':
    sys.exit(run_cli(main))
