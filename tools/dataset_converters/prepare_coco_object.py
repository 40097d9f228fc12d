"""Make the labels of COCO-Object (*_instanceTrainIds.png) from COCO-Stuff's pixel maps.

DATA_ROOT is the folder of COCO-Stuff 164k: images/val2017/*.jpg and, unpacked from
stuffthingmaps_trainval2017.zip, annotations/val2017/*.png (and the same for train2017).
80 things count from 1; all stuff and every unlabelled pixel is background, label 0, as in the
converter of GroupViT that the published numbers rest on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovseg.datasets import COCOObjectDataset
from ovseg.datasets.coco import NUM_THINGS, PIXEL_VALUES, UNLABELLED
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
BACKGROUND = 0
TABLE = {
    value: label + 1 if label < NUM_THINGS else BACKGROUND
    for label, value in enumerate(PIXEL_VALUES)
} | {UNLABELLED: BACKGROUND}


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """Things 1 to 80 (H, W) from a pixel map; stuff and unlabelled pixels are background."""
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
            COCOObjectDataset,
            args.data_root / 'images' / f'{split}2017',
            args.data_root / 'annotations' / f'{split}2017',
            f'COCO {split}2017',
            '.png',
        )
        recipe = Recipe(f'COCO-Object {split}', COCOObjectDataset, IMAGES[split], convert)
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


if __name__ == '__main__':
    sys.exit(run_cli(main))
