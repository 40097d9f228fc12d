"""Overlapping windows whose probabilities, not scores, are averaged."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from ovseg.scores.row_map import ALL, Channels, WindowMaps


@dataclass(frozen=True, eq=False)
class WindowProbabilities(WindowMaps):
    """Maps of windows, resized to pixels, made probabilities there, and averaged.

    Attributes:
        scale: factor of the scores before the softmax over the channels.

    Source: the released notebooks of TIPSv2 (arXiv 2604.12012) and dino.txt (arXiv 2412.16334).
    """

    scale: float = 1.0

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        return super().rows(start, stop)[channels]  # a softmax is over all of them

    @override
    def _window_rows(self, maps: Tensor, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        scores = super()._window_rows(maps, start, stop, size)
        return scores.float().mul_(self.scale).softmax(dim=1)
