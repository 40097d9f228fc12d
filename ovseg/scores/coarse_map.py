"""Coarse labels and probabilities of one image at half its size, without a full-size score map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.row_resize import ReadRows, read_resized

# Numbers in the score maps of a strip: 32 MiB of float32, of which some copies live at a time.
STRIP_VALUES = 1 << 23


class CoarseScores(Protocol):
    """Class probabilities of one image, computed when they are asked for.

    Attributes:
        size: (H, W) of the output in pixels.
        num_classes: K.
    """

    size: tuple[int, int]
    num_classes: int

    def rows(self, start: int, stop: int) -> Tensor:
        """Probabilities (K, stop - start, W) of some rows of the output, float32."""
        ...


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


def half_rows(scores: CoarseScores) -> ReadRows:
    """A reader of the probabilities at half size: bilinear, align_corners False."""
    size = half_size(scores.size)

    def read(start: int, stop: int) -> Tensor:
        return read_resized(scores.rows, scores.size[0], size, start, stop)

    return read


def row_strips(height: int, values_per_row: float) -> Iterator[tuple[int, int]]:
    """Strips ``(start, stop)`` that cover `height` rows, about :data:`STRIP_VALUES` numbers each.

    Args:
        height: in rows.
        values_per_row: numbers that a row of the strip makes.

    Example:
        >>> list(row_strips(5, STRIP_VALUES / 2))
        [(0, 2), (2, 4), (4, 5)]
    """
    rows = max(1, int(STRIP_VALUES / values_per_row))
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def all_rows(scores: CoarseScores) -> Tensor:
    """All probabilities (K, H, W), for those who asked for that much memory."""
    strips = row_strips(scores.size[0], scores.num_classes * scores.size[1])
    return torch.cat([scores.rows(start, stop) for start, stop in strips], dim=1)


def coarse_map(labels: Tensor, scores: CoarseScores) -> CoarseMap:
    """Returns labels and probabilities at half size.

    Args:
        labels: (H, W) int64, in [0, K); H and W at least 2.
        scores: their probabilities; read once, from top to bottom.
    """
    height, width = half_size(scores.size)
    # Nearest by torch's own rounding; float32 holds every label exactly.
    halved = F.interpolate(labels[None, None].float(), size=(height, width), mode='nearest')
    halved = halved[0, 0].long()
    confidence = torch.empty(height, width, device=labels.device)
    largest = torch.empty_like(confidence)
    peaks = torch.full((scores.num_classes,), float('-inf'), device=labels.device)
    read = half_rows(scores)
    # Of each row at half size, two at full size are read.
    for start, stop in row_strips(height, scores.num_classes * 2 * scores.size[1]):
        rows = read(start, stop)
        confidence[start:stop] = rows.gather(0, halved[None, start:stop])[0]
        largest[start:stop] = rows.amax(dim=0)
        peaks = torch.maximum(peaks, rows.amax(dim=(1, 2)))
    return CoarseMap(halved, confidence, largest, peaks)
