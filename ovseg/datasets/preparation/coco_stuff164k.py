"""Make the 171-class labels (*_labelTrainIds.png) of COCO-Stuff 164k from its pixel maps.

DATA_ROOT holds images/val2017/*.jpg and, unpacked from stuffthingmaps_trainval2017.zip,
annotations/val2017/*.png (and the same for train2017).
"""

from __future__ import annotations

from functools import partial

from ovseg.datasets.preparation import coco_maps
from ovseg.datasets.preparation.coco_values import PIXEL_VALUES, UNLABELLED
from ovseg.datasets.preparation.recipe import Preparation

TABLE = {value: label for label, value in enumerate(PIXEL_VALUES)} | {UNLABELLED: UNLABELLED}

PREPARATION = Preparation(
    about=__doc__,
    root=coco_maps.ROOT,
    datasets=('coco_stuff164k',),
    splits=tuple(coco_maps.IMAGES),
    recipes=partial(
        coco_maps.recipes, title='COCO-Stuff 164k', dataset='COCOStuff164kDataset', table=TABLE
    ),
)
