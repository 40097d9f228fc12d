"""Where the tiles of a raster lie, and how much each counts where they overlap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A tile along one axis.

    Attributes:
        start: its first pixel.
        stop: one past its last.
        lead: pixels that it shares with the tile before it.
        tail: pixels that it shares with the tile behind it.
    """

    start: int
    stop: int
    lead: int = 0
    tail: int = 0

    @property
    def length(self) -> int:
        """In pixels."""
        return self.stop - self.start

    def meets(self, start: int, stop: int) -> bool:
        """Whether it has pixels in ``[start, stop)``."""
        return self.start < stop and start < self.stop

    def weights(self) -> Tensor:
        """(length,) float32 in (0, 1]: rises over ``lead``, falls over ``tail``.

        Those of two neighbours add up to 1 where they alone overlap.

        Example:
            >>> Span(0, 4, 0, 2).weights()
            tensor([1.0000, 1.0000, 0.7500, 0.2500])
        """
        place = torch.arange(self.length) + 0.5
        rise = place / self.lead if self.lead else torch.ones(self.length)
        fall = (self.length - place) / self.tail if self.tail else torch.ones(self.length)
        return torch.minimum(rise, fall).clamp_max(1.0)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles that cover an axis; the last one is shifted back inside and shares more.

    Args:
        length: of the axis in pixels; one tile covers an axis that is no longer than it.
        tile: their length.
        overlap: what neighbours share at least, less than a tile.

    Example:
        >>> [(span.start, span.stop) for span in spans(10, 4, 1)]
        [(0, 4), (3, 7), (6, 10)]
    """
    if length <= tile:
        return [Span(0, length)]
    step = tile - overlap
    count = -(-(length - tile) // step) + 1
    starts = [min(index * step, length - tile) for index in range(count)]
    shared = [0, *(first + tile - second for first, second in pairwise(starts)), 0]
    return [
        Span(start, start + tile, lead, tail)
        for start, lead, tail in zip(starts, shared[:-1], shared[1:], strict=True)
    ]
