"""The Python interface for people: a segmenter, its results, the model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovseg.lazy import lazy_names

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.apis.encoded_image import EncodedImage
    from ovseg.apis.results import ClassArea, SegmentationResult
    from ovseg.apis.segmenter import OpenVocabSegmenter
    from ovseg.apis.segments_result import SegmentsResult
    from ovseg.apis.stream import Failed
    from ovseg.images.reading import ImageBytes, find_images, load_rgb
    from ovseg.zoo import ModelEntry, list_models

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        'ovseg.apis.encoded_image': ['EncodedImage'],
        'ovseg.apis.results': ['ClassArea', 'SegmentationResult'],
        'ovseg.apis.segmenter': ['OpenVocabSegmenter'],
        'ovseg.apis.segments_result': ['SegmentsResult'],
        'ovseg.apis.stream': ['Failed'],
        'ovseg.images.reading': ['ImageBytes', 'find_images', 'load_rgb'],
        'ovseg.zoo': ['ModelEntry', 'list_models'],
    },
)

__all__ = [
    'ClassArea',
    'EncodedImage',
    'Failed',
    'ImageBytes',
    'ModelEntry',
    'OpenVocabSegmenter',
    'SegmentationResult',
    'SegmentsResult',
    'find_images',
    'list_models',
    'load_rgb',
]
