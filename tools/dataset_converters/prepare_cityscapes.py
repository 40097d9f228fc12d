"""Make Cityscapes' 19-class labels (*_labelTrainIds.png) from its *_labelIds.png.

DATA_ROOT is the folder with leftImg8bit and gtFine. Files that the authors' own scripts have made
are kept. The result is theirs: they draw the same polygons with the other numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovseg.datasets import CityscapesSegDataset
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

IMAGES = {'val': 500, 'train': 2975}
IGNORED = 255
# Label ids of the 19 evaluated classes, in the order of the training ids 0 to 18.
# Source: Cordts et al., cityscapesScripts, helpers/labels.py.
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
TRAIN_IDS = {label: IGNORED for label in (*range(34), IGNORED)} | {
    label: train_id for train_id, label in enumerate(EVALUATED)
}


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """Training ids (H, W) from a map of label ids."""
    source = require_file(item.source, 'a label map of gtFine')
    return apply_table(decode_labels(source.read_bytes(), source), TRAIN_IDS, source)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder of Cityscapes, e.g. data/cityscapes', argv, tuple(IMAGES)
    )
    code = 0
    for split in args.splits:
        items = pair_items(
            CityscapesSegDataset,
            args.data_root / 'leftImg8bit' / split,
            args.data_root / 'gtFine' / split,
            f'Cityscapes {split}',
            '_gtFine_labelIds.png',
        )
        recipe = Recipe(f'Cityscapes {split}', CityscapesSegDataset, IMAGES[split], convert)
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


if __name__ == '__main__':
    sys.exit(run_cli(main))
