"""Make the labels of COCO-Object (*_instanceTrainIds.png) from COCO-Stuff's pixel maps.

DATA_ROOT is the folder of COCO-Stuff 164k: images/val2017/*.jpg and, unpacked from
stuffthingmaps_trainval2017.zip, annotations/val2017/*.png (and the same for train2017).
80 things count from 1; all stuff and every unlabelled pixel is background, label 0, as in the
converter of GroupViT that the published numbers rest on.
"""

from __future__ import annotations

from functools import partial

from ovseg.datasets.preparation import coco_maps
from ovseg.datasets.preparation.coco_values import NUM_THINGS, PIXEL_VALUES, UNLABELLED
from ovseg.datasets.preparation.recipe import Preparation

BACKGROUND = 0
TABLE = {
    value: label + 1 if label < NUM_THINGS else BACKGROUND
    for label, value in enumerate(PIXEL_VALUES)
} | {UNLABELLED: BACKGROUND}

PREPARATION = Preparation(
    about=__doc__,
    root=coco_maps.ROOT,
    datasets=('coco_object',),
    splits=tuple(coco_maps.IMAGES),
    recipes=partial(
        coco_maps.recipes, title='COCO-Object', dataset='COCOObjectDataset', table=TABLE
    ),
)
