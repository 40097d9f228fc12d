"""Coarse labels and probabilities of one image at half its size, without a full-size score map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.scores.row_map import Resized, RowMap

# Of the score maps of a strip; some copies of them live at a time.
STRIPS = MemoryBudget(32.0)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class CoarseMap:
    """What regions are made of, at half the output's size, (h, w) = (H // 2, W // 2).

    Attributes:
        labels: (h, w) int64.
        confidence: (h, w), the probability of each pixel's own label.
        largest: (h, w), the largest probability of any class there; a rejected pixel's label has a
            smaller one.
        peaks: (K,), the largest probability that a class has anywhere.
    """

    labels: Tensor
    confidence: Tensor
    largest: Tensor
    peaks: Tensor


def half_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H // 2, W // 2)."""
    return size[0] // 2, size[1] // 2


def at_half_size(shares: RowMap) -> RowMap:
    """Probabilities at half size: bilinear, align_corners False."""
    return Resized(shares, half_size(shares.size))


def coarse_map(labels: Tensor, shares: RowMap) -> CoarseMap:
    """Returns labels and probabilities at half size.

    Args:
        labels: (H, W) int64, in [0, K); H and W at least 2.
        shares: probabilities of the K classes at (H, W); read once, from top to bottom.
    """
    height, width = half_size(shares.size)
    # Nearest by torch's own rounding; float32 holds every label exactly.
    halved = F.interpolate(labels[None, None].float(), size=(height, width), mode='nearest')
    halved = halved[0, 0].long()
    confidence = torch.empty(height, width, device=labels.device)
    largest = torch.empty_like(confidence)
    peaks = torch.full((shares.channels,), float('-inf'), device=labels.device)
    halves = at_half_size(shares)
    # Of each row at half size, two at full size are read.
    values = shares.channels * 2 * shares.size[1]
    for start, stop in STRIPS.strips(height, _FLOAT_BYTES * values):
        rows = halves.rows(start, stop)
        confidence[start:stop] = rows.gather(0, halved[None, start:stop])[0]
        largest[start:stop] = rows.amax(dim=0)
        peaks = torch.maximum(peaks, rows.amax(dim=(1, 2)))
    return CoarseMap(halved, confidence, largest, peaks)
