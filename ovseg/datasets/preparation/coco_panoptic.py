"""Check COCO 2017's panoptic annotations; its files are used as they are.

DATA_ROOT is the folder of COCO 2017 with val2017/*.jpg and, unpacked from
panoptic_annotations_trainval2017.zip, annotations/panoptic_val2017.json and the folder
annotations/panoptic_val2017 with its maps (from the zip inside the zip).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ovseg.datasets.preparation.coco_maps import IMAGES
from ovseg.datasets.preparation.panoptic import check_id_map, listed_items
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import COCOPanopticDataset

    for split in splits:
        maps = root / 'annotations' / f'panoptic_{split}2017'
        file = root / 'annotations' / f'panoptic_{split}2017.json'
        items = listed_items(file, root / f'{split}2017', maps, 'coco_panoptic')
        title = f'COCO panoptic {split}'
        yield Recipe(title, COCOPanopticDataset, IMAGES[split], check=check_id_map), items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder of COCO 2017, e.g. data/coco',
    datasets=('coco_panoptic',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
