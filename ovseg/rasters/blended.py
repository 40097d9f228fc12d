"""Score maps of overlapping tiles as one map: blended before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.rasters.tiles import Span
from ovseg.scores.row_map import ALL, Channels, RowMap

# Keeps pixels that no tile covers from dividing by zero; their scores are 0.
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """The scores of a tile.

    Attributes:
        scores: at the tile's size in pixels.
        rows: where it lies from top to bottom.
        columns: where it lies from left to right.
    """

    scores: RowMap
    rows: Span
    columns: Span


@dataclass(frozen=True, eq=False)
class BlendedTiles(RowMap):
    """The scores of a part of a raster, averaged where its tiles overlap.

    A tile counts less towards its edges (:meth:`Span.weights`), so that no edge is a seam. Scores
    of rows are linear in the unit vectors of features: to average the former is to average the
    latter.

    Attributes:
        tiles: all that meet the part; at least one.
        box: (top, left, bottom, right) of the part in pixels of the raster, end exclusive.
    """

    tiles: Sequence[PlacedMap]
    box: tuple[int, int, int, int]

    @property
    @override
    def size(self) -> tuple[int, int]:
        top, left, bottom, right = self.box
        return bottom - top, right - left

    @property
    @override
    def channels(self) -> int:
        return self.tiles[0].scores.channels

    @property
    @override
    def like(self) -> Tensor:
        return self.tiles[0].scores.like

    @property
    @override
    def values_a_row(self) -> float:
        # A tile's rows exist beside those of the whole part.
        of_tile = max(tile.scores.values_a_row for tile in self.tiles)
        return (self.channels + 1) * self.size[1] + of_tile

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        top, left, _, right = self.box
        total: Tensor | None = None
        weight = self.like.new_zeros(stop - start, right - left)
        for tile in self.tiles:
            # In pixels of the tile.
            first = max(start + top, tile.rows.start) - tile.rows.start
            last = min(stop + top, tile.rows.stop) - tile.rows.start
            begin = max(left, tile.columns.start) - tile.columns.start
            end = min(right, tile.columns.stop) - tile.columns.start
            if first >= last or begin >= end:
                continue
            part = tile.scores.rows(first, last, channels)[..., begin:end]
            counts = torch.outer(
                tile.rows.weights()[first:last], tile.columns.weights()[begin:end]
            ).to(part)
            if total is None:
                total = part.new_zeros(part.shape[0], *weight.shape)
            down = slice(
                tile.rows.start + first - top - start, tile.rows.start + last - top - start
            )
            across = slice(tile.columns.start + begin - left, tile.columns.start + end - left)
            total[:, down, across] += part * counts
            weight[down, across] += counts
        if total is None:
            empty = self.like.new_empty(self.channels, 0)[channels]
            return self.like.new_zeros(len(empty), *weight.shape)
        return total.div_(weight.clamp_min_(_TINY))
