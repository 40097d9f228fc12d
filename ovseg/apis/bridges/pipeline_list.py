"""A result as the ``image-segmentation`` pipeline of transformers gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ovseg.apis.bridges.named_mask import NamedMask


def pipeline_list(masks: Sequence[NamedMask]) -> list[dict[str, Any]]:
    """``score``, ``label`` and ``mask`` of each mask; no library is needed.

    Args:
        masks: of a result.
    """
    return [
        {'score': each.score, 'label': each.name, 'mask': Image.fromarray(each.mask).convert('L')}
        for each in masks
    ]
