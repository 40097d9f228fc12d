"""Maps of an image that are read some rows at a time, so that they never exist at full size.

Score maps are small on the patch grid and huge at the size of a photograph. Everything between the
two (overlapping windows, resizes, pixel refiners, masks times scores) is a :class:`RowMap` that
reads another one; what decides labels reads the last of them in strips.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders.dense import NO_MARGINS, Margins
from ovseg.images.windows import Box
from ovseg.row_resize import read_resized, resize_rows

# Some of a map's channels: a range, or (n,) indices.
Channels = slice | Tensor
ALL = slice(None)
# Half a megabyte of float32.
_CACHED_VALUES = 1 << 17


class RowMap(ABC):
    """C maps of (H, W) pixels.

    Attributes:
        copies: values alive for each of `values_a_row` while rows are read and decided:
            interpolated rows, their mean, and what the decision adds.
        held: share of a memory budget that the map itself takes beside the rows that are read.
    """

    copies: float = 5
    held: float = 0.0

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """C."""

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor on the maps' device and of their dtype."""

    @property
    @abstractmethod
    def values_a_row(self) -> float:
        """How many numbers reading a row makes."""

    @abstractmethod
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        """Some rows.

        Args:
            start: first row.
            stop: one past the last row.
            channels: which of the maps.

        Returns:
            (C, stop - start, W).
        """

    def largest(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The largest value of each pixel of some rows, and its channel, the first of equal ones.

        Returns:
            (stop - start, W) values and (stop - start, W) int64.
        """
        best = self.rows(start, stop).max(0)
        return best.values, best.indices

    def total(self, start: int, stop: int) -> Tensor:
        """Sum over the channels of some rows, float32, negative values counting as 0."""
        return self.rows(start, stop).float().clamp_min(0).sum(0)

    def strips(self, budget: MemoryBudget) -> Iterator[tuple[int, int]]:
        """``(start, stop)`` of strips whose reading and deciding keep within a budget.

        Args:
            budget: what they may take.
        """
        row = self.copies * self.values_a_row * self.like.element_size()
        return budget.share(1 - self.held).strips(self.size[0], row)

    def strips_of_largest(self, budget: MemoryBudget) -> Iterator[tuple[int, int]]:
        """The same for strips of which only :meth:`largest` and :meth:`total` are asked."""
        return self.strips(budget)

    def whole(self, budget: MemoryBudget) -> Tensor:
        """All of it, (C, H, W), for those who asked for that much memory."""
        full = self.like.new_empty(self.channels, *self.size)
        for start, stop in self.strips(budget):
            full[:, start:stop] = self.rows(start, stop)
        return full


@dataclass(frozen=True, eq=False)
class WindowMaps(RowMap):
    """Maps of windows on their patch grids, resized to pixels and averaged where they overlap.

    Attributes:
        maps: (windows, C, h, w).
        boxes: where each window lies, (y1, x1, y2, x2) in pixels, end exclusive.
        input_size: (height, width) of what the windows lie in.
        margins: how far each map reaches beyond its box.
    """

    maps: Tensor
    boxes: list[Box]
    input_size: tuple[int, int]
    margins: Margins = NO_MARGINS

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.input_size

    @property
    @override
    def channels(self) -> int:
        return self.maps.shape[1]

    @property
    @override
    def like(self) -> Tensor:
        return self.maps

    @property
    @override
    def values_a_row(self) -> float:
        return self.channels * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        height, width = self.size
        maps = self.maps[:, channels]
        if self.boxes == [(0, 0, height, width)]:
            return self._window_rows(maps, start, stop, self.size)[0]
        total = maps.new_zeros(maps.shape[1], stop - start, width)
        count = maps.new_zeros(stop - start, width)
        for first, last in self._side_by_side(maps.shape[1]):
            y1, x1, y2, x2 = self.boxes[first]
            top, bottom = max(start, y1), min(stop, y2)
            if top >= bottom:
                continue
            size = (y2 - y1, x2 - x1)
            parts = self._window_rows(maps[first:last], top - y1, bottom - y1, size)
            into, counted = (
                total[:, top - start : bottom - start],
                count[top - start : bottom - start],
            )
            for part, (_, left, _, right) in zip(parts, self.boxes[first:last], strict=True):
                into[..., left:right] += part
                counted[:, left:right] += 1
        return total.div_(count)

    def _side_by_side(self, channels: int) -> Iterator[tuple[int, int]]:
        """Runs ``(first, one past the last)`` of windows that one resize takes.

        They have the same rows and width. Calls cost more than the work where windows are small;
        many values at once cost more than calls, as they leave the processor's caches.
        """
        first = 0
        for index, (y1, x1, y2, x2) in enumerate(self.boxes):
            top, left, bottom, right = self.boxes[first]
            is_alike = (top, bottom, right - left) == (y1, y2, x2 - x1)
            values = (index + 1 - first) * channels * (y2 - y1) * (x2 - x1)
            if index > first and (not is_alike or values > _CACHED_VALUES):
                yield first, index
                first = index
        yield first, len(self.boxes)

    def _window_rows(self, maps: Tensor, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """Rows of windows' maps (n, C, h, w) at the windows' pixel size, without their margins."""
        top, bottom, left, right = self.margins
        full = (size[0] + top + bottom, size[1] + left + right)
        rows = resize_rows(maps.flatten(0, 1), start + top, stop + top, full)
        return rows[..., left : left + size[1]].unflatten(0, maps.shape[:2])


class DerivedMap(RowMap):
    """A map that reads another one, its ``source``; of the same form unless it says otherwise."""

    source: RowMap

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.source.size

    @property
    @override
    def channels(self) -> int:
        return self.source.channels

    @property
    @override
    def like(self) -> Tensor:
        return self.source.like

    @property
    @override
    def values_a_row(self) -> float:
        return self.source.values_a_row


@dataclass(frozen=True, eq=False)
class Resized(DerivedMap):
    """A bilinear resize (align_corners False, no antialias).

    Attributes:
        output_size: (height, width) wanted.
    """

    source: RowMap
    output_size: tuple[int, int]

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.output_size

    @property
    @override
    def values_a_row(self) -> float:
        # A strip of output rows reads source rows in proportion to the two heights.
        read = self.source.values_a_row * self.source.size[0] / self.output_size[0]
        return self.channels * self.output_size[1] + read

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        def read(first: int, last: int) -> Tensor:
            return self.source.rows(first, last, channels)

        return read_resized(read, self.source.size[0], self.output_size, start, stop)


def resized(source: RowMap, size: tuple[int, int]) -> RowMap:
    """The map at another size; itself where it has that size already.

    Args:
        source: the map.
        size: (height, width) wanted.
    """
    return source if source.size == size else Resized(source, size)


@dataclass(frozen=True, eq=False)
class Pointwise(DerivedMap):
    """A function of each value.

    Attributes:
        function: of a tensor, value by value.
    """

    source: RowMap
    function: Callable[[Tensor], Tensor]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        return self.function(self.source.rows(start, stop, channels))


@dataclass(frozen=True, eq=False)
class Painted(DerivedMap):
    """Values that hold for whole regions, averaged in.

    Attributes:
        of_regions: (C, R).
        regions: (H, W) int64, which region a pixel belongs to.
        share: in [0, 1], how much they count beside the source.
    """

    source: RowMap
    of_regions: Tensor
    regions: Tensor
    share: float

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        painted = self.of_regions[channels][:, self.regions[start:stop]]
        return torch.lerp(self.source.rows(start, stop, channels), painted, self.share)
