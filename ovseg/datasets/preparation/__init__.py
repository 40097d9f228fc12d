"""Preparing data sets, for ``tools/prepare_data.py``: a module a data set, and what they share."""

from __future__ import annotations

from ovseg.datasets.preparation import (
    ade20k,
    ade847,
    cityscapes,
    coco_object,
    coco_stuff164k,
    context,
    context459,
    voc,
)
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe, prepare

PREPARATIONS: dict[str, Preparation] = {
    'ade20k': ade20k.PREPARATION,
    'ade847': ade847.PREPARATION,
    'cityscapes': cityscapes.PREPARATION,
    'coco_object': coco_object.PREPARATION,
    'coco_stuff164k': coco_stuff164k.PREPARATION,
    'context': context.PREPARATION,
    'context459': context459.PREPARATION,
    'voc': voc.PREPARATION,
}

__all__ = ['PREPARATIONS', 'Item', 'Preparation', 'Recipe', 'prepare']
