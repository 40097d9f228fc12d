"""Preparing data sets, for ``tools/prepare_data.py``: a module a data set, and what they share."""

from __future__ import annotations

from ovseg.datasets.preparation import (
    ade20k,
    ade20k_panoptic,
    ade847,
    cityscapes,
    cityscapes_panoptic,
    coco_object,
    coco_panoptic,
    coco_stuff164k,
    context,
    context459,
    mapillary_panoptic,
    voc,
)
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe, prepare, write_labels
from ovseg.datasets.preparation.renumbering import apply_table
from ovseg.datasets.preparation.sources import (
    find_images,
    pair_items,
    read_names,
    require_file,
    require_folder,
)

PREPARATIONS: dict[str, Preparation] = {
    'ade20k': ade20k.PREPARATION,
    'ade20k_panoptic': ade20k_panoptic.PREPARATION,
    'ade847': ade847.PREPARATION,
    'cityscapes': cityscapes.PREPARATION,
    'cityscapes_panoptic': cityscapes_panoptic.PREPARATION,
    'coco_object': coco_object.PREPARATION,
    'coco_panoptic': coco_panoptic.PREPARATION,
    'coco_stuff164k': coco_stuff164k.PREPARATION,
    'context': context.PREPARATION,
    'context459': context459.PREPARATION,
    'mapillary_panoptic': mapillary_panoptic.PREPARATION,
    'voc': voc.PREPARATION,
}

__all__ = [
    'PREPARATIONS',
    'Item',
    'Preparation',
    'Recipe',
    'apply_table',
    'find_images',
    'pair_items',
    'prepare',
    'read_names',
    'require_file',
    'require_folder',
    'write_labels',
]
