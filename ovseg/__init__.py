"""ovseg: open-vocabulary segmentation for the MM ecosystem. An image and words in, masks out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ovseg import compat as _compat

# Before anything imports mmcv.ops, mmdet.models or mmseg.models (see ovseg/compat).
_compat.install()

__version__ = '0.1.0'

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.apis import OpenVocabSegmenter, SegmentationResult, SegmentsResult, list_models
    from ovseg.vocabulary import Rejection, Vocabulary

# Public names are imported on first use: `import ovseg` stays fast and prints nothing.
_PUBLIC = {
    'OpenVocabSegmenter': 'ovseg.apis',
    'SegmentationResult': 'ovseg.apis',
    'SegmentsResult': 'ovseg.apis',
    'list_models': 'ovseg.apis',
    'Vocabulary': 'ovseg.vocabulary',
    'Rejection': 'ovseg.vocabulary',
}

__all__ = [
    'OpenVocabSegmenter',
    'Rejection',
    'SegmentationResult',
    'SegmentsResult',
    'Vocabulary',
    '__version__',
    'list_models',
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ovseg' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
