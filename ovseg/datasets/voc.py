"""Pascal VOC 2012: 20 classes, with the background as a class (VOC21) or ignored (VOC20)."""

from __future__ import annotations

from ovseg.compat.mmseg_datasets import PascalVOCDataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.registry import DATASETS


@DATASETS.register_module()
class VOC21Dataset(LabelMapDataset):
    """VOC 2012 with the background as class 0; the white borders (255) are ignored."""

    METAINFO = {**PascalVOCDataset.METAINFO, 'ignore_index': 255}
    PREPARED_BY = 'voc'


@DATASETS.register_module()
class VOC20Dataset(VOC21Dataset):
    """VOC 2012 without background: its pixels are ignored, the other labels fall by one."""

    METAINFO = {
        'classes': PascalVOCDataset.METAINFO['classes'][1:],
        'palette': PascalVOCDataset.METAINFO['palette'][1:],
        'ignore_index': 255,
    }
    REDUCE_ZERO_LABEL = True
