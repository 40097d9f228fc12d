"""ovseg: open-vocabulary segmentation for the MM ecosystem. An image and words in, masks out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovseg import compat as _compat
from ovseg.lazy import lazy_names as _lazy_names

# Before anything imports mmcv.ops, mmdet.models or mmseg.models (see ovseg/compat).
_compat.install()

__version__ = '0.1.0'

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.apis import OpenVocabSegmenter, SegmentationResult, SegmentsResult
    from ovseg.vocabulary import Rejection, Vocabulary
    from ovseg.zoo import list_models

# Public names are imported on first use: `import ovseg` stays fast and prints nothing.
__getattr__, __dir__ = _lazy_names(
    __name__,
    {
        'ovseg.apis': ['OpenVocabSegmenter', 'SegmentationResult', 'SegmentsResult'],
        'ovseg.vocabulary': ['Rejection', 'Vocabulary'],
        'ovseg.zoo': ['list_models'],
    },
)

__all__ = [
    'OpenVocabSegmenter',
    'Rejection',
    'SegmentationResult',
    'SegmentsResult',
    'Vocabulary',
    '__version__',
    'list_models',
]
