"""Text: encoding sentences with CLIP, and classifiers made of them."""

from __future__ import annotations

from ovseg.text.cache import EncodingCache, default_cache_dir
from ovseg.text.classifier import Classifier
from ovseg.text.encoder import TextEncoder
from ovseg.text.prompts import average_sentences, build_classifier

__all__ = [
    'Classifier',
    'EncodingCache',
    'TextEncoder',
    'average_sentences',
    'build_classifier',
    'default_cache_dir',
]
