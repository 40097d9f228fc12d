"""Pascal Context on VOC 2010 images: 59 classes, with or without background, or all 459."""

from __future__ import annotations

from ovseg.compat.mmseg_datasets import PascalContextDataset, PascalContextDataset59
from ovseg.datasets.base import LabelMapDataset
from ovseg.registry import DATASETS
from ovseg.vocabulary import make_palette
from ovseg.vocabulary.protocols import METAINFO, protocol_words


@DATASETS.register_module()
class Context60Dataset(LabelMapDataset):
    """59 classes and the background, which is everything else, as class 0.

    Labels follow mmseg's order, which is alphabetical. OVSeg lists the same names in another
    order; with its words give the data set ``metainfo=dict(classes=[...])`` in that order.
    """

    METAINFO = {**PascalContextDataset.METAINFO, 'ignore_index': 255}
    PREPARED_BY = 'context'


@DATASETS.register_module()
class Context59Dataset(Context60Dataset):
    """The 59 classes; the background is ignored and the other labels fall by one."""

    METAINFO = {**PascalContextDataset59.METAINFO, 'ignore_index': 255}
    REDUCE_ZERO_LABEL = True


@DATASETS.register_module()
class Context459Dataset(LabelMapDataset):
    """All 459 classes, in 16-bit TIFF.

    Ignored are 65535 (what ``LabelMap - 1`` makes of 0) and 459, the ignore value of the common
    detectron2 registration.
    """

    METAINFO = {
        'classes': protocol_words('context459', METAINFO)[0],
        'palette': make_palette(459),
        'ignore_index': 65535,
    }
    SEG_MAP_SUFFIX = '.tif'
    IGNORED_LABELS = (459, 65535)
    PREPARED_BY = 'context459'
