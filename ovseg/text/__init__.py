"""Text: encoding sentences with CLIP, and classifiers made of them."""

from __future__ import annotations

from ovseg.text.cache import EncodingCache, default_cache_dir
from ovseg.text.classifier import Classifier
from ovseg.text.encoder import TextEncoder
from ovseg.text.prompts import average_sentences, build_classifier
from ovseg.text.rows import classifier_from_rows

__all__ = [
    'Classifier',
    'EncodingCache',
    'TextEncoder',
    'average_sentences',
    'build_classifier',
    'classifier_from_rows',
    'default_cache_dir',
]
