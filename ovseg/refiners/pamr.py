"""Pixel-adaptive mask refinement: scores flow between neighbouring pixels that look alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.registry import MODELS

_OFFSETS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_STD_FACTOR = 0.1
_TINY = 1e-8


def local_affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Returns how much each pixel takes from each of its neighbours.

    Args:
        image: (C, H, W), normalised as the network sees it.
        dilations: distances of the neighbours in pixels; eight each.

    Returns:
        (8 * len(dilations), H, W), summing to 1 over the neighbours: the softmax of the mean over
        channels of ``-|x - neighbour| / (1e-8 + 0.1 std)``. ``std`` is the unbiased standard
        deviation of pixel and neighbours, the pixel counted once for each dilation. Beyond the
        border stands the border pixel.

    Source: PAMR (arXiv 2005.08104), section 4.1.
    """
    padded = _padded(image, max(dilations))
    count = 9 * len(dilations)
    mean = image * (len(dilations) / count)
    for neighbour in _neighbours(padded, dilations):
        mean += neighbour / count
    variance = (image - mean).square_() * len(dilations)
    for neighbour in _neighbours(padded, dilations):
        variance += (neighbour - mean).square_()
    steepness = (variance / (count - 1)).sqrt_().mul_(_STD_FACTOR).add_(_TINY).reciprocal_()
    affinity = image.new_empty(8 * len(dilations), *image.shape[1:])
    for plane, neighbour in zip(affinity, _neighbours(padded, dilations), strict=True):
        torch.mean((image - neighbour).abs_().mul_(steepness), dim=0, out=plane)
    return affinity.neg_().softmax(0)


def propagate(scores: Tensor, affinity: Tensor, dilations: Sequence[int], steps: int) -> Tensor:
    """Returns scores after some rounds of every pixel taking the mean of its neighbours.

    Args:
        scores: (P, H, W).
        affinity: (8 * len(dilations), H, W), from :func:`local_affinity`.
        dilations: as there.
        steps: rounds.

    Returns:
        (P, H, W); each map by itself, so any part of the maps gives that part of the result.

    Source: PAMR (arXiv 2005.08104), section 4.1.
    """
    for _ in range(steps):
        padded = _padded(scores, max(dilations))
        scores = torch.zeros_like(scores)
        for weight, neighbour in zip(affinity, _neighbours(padded, dilations), strict=True):
            scores.addcmul_(neighbour, weight)
    return scores


def _padded(maps: Tensor, width: int) -> Tensor:
    # Padding by the largest dilation serves the smaller ones: what stands there is the border.
    return F.pad(maps[None], (width,) * 4, mode='replicate')[0]


def _neighbours(padded: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views of the maps, shifted to each neighbour."""
    border = max(dilations)
    height, width = (side - 2 * border for side in padded.shape[1:])
    for dilation in dilations:
        for y, x in _OFFSETS:
            top, left = border + y * dilation, border + x * dilation
            yield padded[:, top : top + height, left : left + width]


@MODELS.register_module()
@dataclass(frozen=True)
class PAMR:
    """Pixel refiner; see :mod:`ovseg.refiners.pamr`.

    Attributes:
        steps: rounds; published with NACLIP 10.
        dilations: distances of the neighbours in pixels; published 8 and 16.
    """

    steps: int = 10
    dilations: Sequence[int] = (8, 16)

    def __post_init__(self) -> None:
        """Checks the numbers."""
        object.__setattr__(self, 'dilations', tuple(self.dilations))
        if self.steps < 1 or not self.dilations or min(self.dilations) < 1:
            raise UserError(
                'PAMR.steps and each of PAMR.dilations must be at least 1, got '
                f'{self.steps} and {self.dilations}; set model.pixel_refiner=None for no PAMR'
            )

    @property
    def reach(self) -> int:
        """Rows beyond which nothing of an image or its scores matters to a pixel."""
        return self.steps * max(self.dilations)

    @property
    def planes(self) -> int:
        """How many values a pixel has in what :meth:`prepare` returns."""
        return 8 * len(self.dilations)

    def prepare(self, image: Tensor) -> Tensor:
        """(C, H, W) image, normalised -> affinities (planes, H, W)."""
        return local_affinity(image, self.dilations)

    def __call__(self, scores: Tensor, prepared: Tensor) -> Tensor:
        """(P, H, W) scores -> refined scores."""
        return propagate(scores, prepared, self.dilations, self.steps)
