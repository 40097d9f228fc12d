"""COCO 2017 with the pixel maps of COCO-Stuff: 171 things and stuff, or 80 things."""

from __future__ import annotations

from ovseg.compat.mmseg_datasets import COCOStuffDataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.registry import DATASETS
from ovseg.vocabulary import make_palette
from ovseg.vocabulary.palette import BACKGROUND_COLOR
from ovseg.vocabulary.protocols import METAINFO, protocol_words


@DATASETS.register_module()
class COCOStuff164kDataset(LabelMapDataset):
    """171 classes in ``*_labelTrainIds.png``."""

    METAINFO = {**COCOStuffDataset.METAINFO, 'ignore_index': 255}
    SEG_MAP_SUFFIX = '_labelTrainIds.png'
    PREPARED_BY = 'coco_stuff164k'


@DATASETS.register_module()
class COCOObjectDataset(LabelMapDataset):
    """80 things and the background (class 0) in ``*_instanceTrainIds.png``; nothing is ignored.

    All stuff and all unlabelled pixels are background: the rule of GroupViT's converter, by which
    the published numbers were made.
    """

    METAINFO = {
        'classes': protocol_words('coco_object', METAINFO)[0],
        'palette': [BACKGROUND_COLOR, *make_palette(80)],
        'ignore_index': 255,
    }
    SEG_MAP_SUFFIX = '_instanceTrainIds.png'
    PREPARED_BY = 'coco_object'
