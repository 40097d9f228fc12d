"""Cityscapes: street scenes, 19 classes."""

from __future__ import annotations

from ovseg.compat.mmseg_datasets import CityscapesDataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.registry import DATASETS


@DATASETS.register_module()
class CityscapesSegDataset(LabelMapDataset):
    """The 19 classes of the benchmark in ``*_gtFine_labelTrainIds.png``, 255 ignored."""

    METAINFO = {**CityscapesDataset.METAINFO, 'ignore_index': 255}
    IMG_SUFFIX = '_leftImg8bit.png'
    SEG_MAP_SUFFIX = '_gtFine_labelTrainIds.png'
    PREPARED_BY = 'cityscapes'
