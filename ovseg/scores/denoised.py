"""Classes that no pixel is sure of, taken out of maps of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.scores.row_map import ALL, Channels, DerivedMap, RowMap, WindowMaps

# What rounding may add to a mean of probabilities.
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Denoised(DerivedMap):
    """Maps of which some are 0 everywhere; those are never read.

    Attributes:
        kept: (C,) bool, on the maps' device.
    """

    source: RowMap
    kept: Tensor

    @property
    @override
    def values_a_row(self) -> float:
        return self.source.values_a_row + self.channels * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        asked = torch.arange(self.channels, device=self.kept.device)[channels]
        is_kept = self.kept[asked]
        rows = self.like.new_zeros(len(asked), stop - start, self.size[1])
        if bool(is_kept.any()):
            rows[is_kept] = self.source.rows(start, stop, asked[is_kept])
        return rows


def denoised(
    maps: WindowMaps, class_index: Tensor, threshold: float, budget: MemoryBudget
) -> Denoised:
    """Probabilities of which those of classes that are never probable are set to 0.

    Args:
        maps: (C, H, W) probabilities.
        class_index: (C,) int64, the class that a map belongs to. A class is as probable as the
            best of its maps.
        threshold: in [0, 1], what a class must reach in a pixel of the image.
        budget: what reading the maps may take.

    Source: RADSeg's released code; prompt denoising of MaskCLIP (arXiv 2112.01071) in pixels.
    """
    best = _by_class(maps.maps.amax((0, 2, 3)).float(), class_index)
    # Between places no pixel is surer than at the surest place: most classes need no look.
    possible = (best >= threshold - _ROUNDING).nonzero()[:, 0]
    found = torch.full_like(best, -torch.inf)
    if len(possible):
        for start, stop in maps.strips(budget):
            rows = maps.rows(start, stop, possible)
            found[possible] = found[possible].maximum(rows.float().amax((1, 2)))
    return Denoised(maps, _by_class(found, class_index) >= threshold)


def _by_class(best: Tensor, class_index: Tensor) -> Tensor:
    """(C,) the largest value among the maps of the same class."""
    index = class_index.to(best.device)
    of_class = best.new_full((int(index.max()) + 1,), -torch.inf)
    return of_class.scatter_reduce(0, index, best, 'amax')[index]
