"""SAM 3 of toy size as a segmentor, and pictures that it has encoded."""

from __future__ import annotations

from typing import Any

import torch
from tiny_sam3s import TINY_SAM3, spread
from tiny_segmentors import pictures

from ovseg.images import Images
from ovseg.segmentors import SAM3Segmentor


def tiny_sam3_segmentor(**settings: Any) -> SAM3Segmentor:
    """A segmentor with random weights whose phrases differ.

    Args:
        settings: of ``SAM3Segmentor``, beside or instead of the usual ones.
    """
    torch.manual_seed(0)
    given = {
        'sam3': {'model': TINY_SAM3, 'pretrained': 'random'},
        'text': {'cache_dir': None},
        'vocabulary': 'cat, kitten; sofa; wall; sky',
        **settings,
    }
    model = SAM3Segmentor(**given).eval()
    spread(model.sam3.model)
    model.words.forget()
    return model


@torch.no_grad()
def encoded(model: SAM3Segmentor, size: tuple[int, int]) -> Any:
    """A picture after the model's encoder.

    Args:
        model: of :func:`tiny_sam3_segmentor`.
        size: (H, W) in pixels.
    """
    own = pictures(size).originals[0]
    pixels = torch.from_numpy(own).permute(2, 0, 1)[None].float()
    inputs = (pixels - model.data_preprocessor.mean) / model.data_preprocessor.std
    return model.encode(Images(inputs))[0]
