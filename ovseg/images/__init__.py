"""Images on their way to a network: the one resize rule, batches, and windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovseg.lazy import lazy_names

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.images.batch import to_batch
    from ovseg.images.config_rule import follow_overrides, give_resize_rule, resize_rule_of
    from ovseg.images.images import Images
    from ovseg.images.loader import ImageLoader
    from ovseg.images.pipeline import (
        AntialiasedResize,
        ResizeByRule,
        pipeline_with_resize,
        resize_step,
    )
    from ovseg.images.resize import ResizeRule

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        'ovseg.images.batch': ['to_batch'],
        'ovseg.images.config_rule': ['follow_overrides', 'give_resize_rule', 'resize_rule_of'],
        'ovseg.images.images': ['Images'],
        'ovseg.images.loader': ['ImageLoader'],
        'ovseg.images.pipeline': [
            'AntialiasedResize',
            'ResizeByRule',
            'pipeline_with_resize',
            'resize_step',
        ],
        'ovseg.images.resize': ['ResizeRule'],
    },
)

__all__ = [
    'AntialiasedResize',
    'ImageLoader',
    'Images',
    'ResizeByRule',
    'ResizeRule',
    'follow_overrides',
    'give_resize_rule',
    'pipeline_with_resize',
    'resize_rule_of',
    'resize_step',
    'to_batch',
]
