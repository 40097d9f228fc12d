"""The Python interface for people: a segmenter, its results, the model zoo."""

from __future__ import annotations

from ovseg.apis.results import ClassArea, SegmentationResult
from ovseg.apis.segmenter import EncodedImage, OpenVocabSegmenter
from ovseg.apis.segments_result import SegmentsResult
from ovseg.images.reading import find_images, load_rgb
from ovseg.zoo import ModelEntry, list_models

__all__ = [
    'ClassArea',
    'EncodedImage',
    'ModelEntry',
    'OpenVocabSegmenter',
    'SegmentationResult',
    'SegmentsResult',
    'find_images',
    'list_models',
    'load_rgb',
]
