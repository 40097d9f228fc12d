"""Check ADE20K-150 (ADEChallengeData2016); its files are used as they are.

DATA_ROOT is the folder ADEChallengeData2016, with images and annotations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg.datasets import ADE20K150Dataset
from ovseg.datasets.preparation import Recipe, pair_items, parse_arguments, prepare
from ovseg.errors import run_cli

IMAGES = {'val': 2000, 'train': 20210}
FOLDERS = {'val': 'validation', 'train': 'training'}


def main(argv: Sequence[str] | None = None) -> int:
    """Check the splits asked for."""
    args = parse_arguments(
        __doc__, 'ADEChallengeData2016, e.g. data/ade/ADEChallengeData2016', argv, tuple(IMAGES)
    )
    code = 0
    for split in args.splits:
        folder = FOLDERS[split]
        items = pair_items(
            ADE20K150Dataset,
            args.data_root / 'images' / folder,
            args.data_root / 'annotations' / folder,
            f'ADE20K {split}',
        )
        recipe = Recipe(f'ADE20K-150 {split}', ADE20K150Dataset, IMAGES[split])
        code = max(code, prepare(recipe, items, args.workers, args.allow_partial))
    return code


if __name__ == '__main__':
    sys.exit(run_cli(main))
