"""ADE20K: the 150 classes of the scene parsing benchmark, and 847 of the full release."""

from __future__ import annotations

from ovseg.compat.mmseg_datasets import ADE20KDataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.registry import DATASETS
from ovseg.vocabulary import make_palette
from ovseg.vocabulary.protocols import METAINFO, protocol_words


@DATASETS.register_module()
class ADE20K150Dataset(LabelMapDataset):
    """ADEChallengeData2016: label files count from 1, 0 is "other" and ignored."""

    METAINFO = {**ADE20KDataset.METAINFO, 'ignore_index': 255}
    REDUCE_ZERO_LABEL = True
    PREPARED_BY = 'ade20k'


@DATASETS.register_module()
class ADE847Dataset(LabelMapDataset):
    """The full release (ADE20K_2021_17_01), 847 classes in 16-bit TIFF, 65535 ignored."""

    METAINFO = {
        'classes': protocol_words('ade847', METAINFO)[0],
        'palette': make_palette(847),
        'ignore_index': 65535,
    }
    SEG_MAP_SUFFIX = '.tif'
    IGNORED_LABELS = (65535,)
    PREPARED_BY = 'ade847'
