"""Tiny models that ship, with few windows an image: overlaps of seven eighths take seconds."""

from __future__ import annotations

from dataclasses import replace

from ovseg import OpenVocabSegmenter

STRIDE = (16, 16)


def few_windows(segmenter: OpenVocabSegmenter) -> OpenVocabSegmenter:
    """The segmenter, its windows of 32 pixels half a window apart, in its config, too."""
    settings = segmenter.model.inference_settings
    if settings.mode != 'whole':
        segmenter.config.model.test_cfg.stride = STRIDE
        segmenter.model.inference_settings = replace(settings, stride=STRIDE)
    return segmenter
