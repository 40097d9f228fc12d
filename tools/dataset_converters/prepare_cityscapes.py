"""Make Cityscapes' 19-class labels (*_labelTrainIds.png) from its *_labelIds.png.

DATA_ROOT is the folder with leftImg8bit and gtFine. Files that the authors' own scripts have made
are kept. The result is theirs: they draw the same polygons with the other numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.datasets import CityscapesSegDataset
from ovseg.datasets.preparation import parse_arguments
from ovseg.datasets.renumbering import Split, renumber_splits
from ovseg.errors import run_cli

IMAGES = {'val': 500, 'train': 2975}
IGNORED = 255
# Label ids of the 19 evaluated classes, in the order of the training ids 0 to 18.
# Source: Cordts et al., cityscapesScripts, helpers/labels.py.
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
TRAIN_IDS = {label: IGNORED for label in (*range(34), IGNORED)} | {
    label: train_id for train_id, label in enumerate(EVALUATED)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check the splits asked for."""
    args = parse_arguments(
        __doc__, 'the folder of Cityscapes, e.g. data/cityscapes', argv, tuple(IMAGES)
    )
    root = args.data_root
    splits = {
        name: Split(
            f'Cityscapes {name}',
            f'Cityscapes {name}',
            root / 'leftImg8bit' / name,
            root / 'gtFine' / name,
            count,
        )
        for name, count in IMAGES.items()
    }
    return renumber_splits(
        CityscapesSegDataset,
        splits,
        TRAIN_IDS,
        'a label map of gtFine',
        '_gtFine_labelIds.png',
        args,
    )


if __name__ == '__main__':
    sys.exit(run_cli(main))
