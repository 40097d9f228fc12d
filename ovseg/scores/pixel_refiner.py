"""A refiner at the image's own size, in bands of bounded memory.

Such a refiner lets a pixel look some rows up and down (its reach). A band is therefore computed
with that many rows more on both sides, which are then cut off: what is left equals the plain
computation. A band is as high as memory allows, because the rows beside it cost time.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.row_resize import resize_rows
from ovseg.scores.row_map import ALL, Channels, DerivedMap, RowMap
from ovseg.stages import stage

# Score maps refined at once: few, so that they stay in a processor's caches; on a GPU more, so that
# it has work.
_VALUES_AT_ONCE = {'cpu': 1 << 20, 'cuda': 1 << 23}
# Copies of these while they are refined: upsampled twice, padded, in and out.
_COPIES = 6
# Of the memory, what the refined band may take; the rest is for deciding its labels.
_BAND_SHARE = 0.7


class PixelRefiner(Protocol):
    """What a pixel refiner offers.

    Attributes:
        reach: rows beyond which nothing matters to a pixel.
        planes: values a pixel in what ``prepare`` returns.
    """

    reach: int
    planes: int

    def prepare(self, image: Tensor) -> Any:
        """(C, H, W) image, normalised -> what refining needs to know of it."""
        ...

    def __call__(self, scores: Tensor, prepared: Any) -> Tensor:
        """(P, H, W) scores -> refined scores, each map by itself."""
        ...


class RefinedPixels(DerivedMap):
    """Refined maps, of which a band is kept until rows beyond it are asked for.

    Args:
        source: the maps at the output's size.
        refiner: refines them.
        image: (C, h, w), the network's input; bilinearly resized to the output.
        budget: what a band, its temporaries and what is made of its rows may take. What the
            refiner's reach costs is needed in any case.
    """

    copies = 3
    held = _BAND_SHARE

    def __init__(
        self, source: RowMap, refiner: PixelRefiner, image: Tensor, budget: MemoryBudget
    ) -> None:
        self.source, self._refiner, self._image = source, refiner, image
        like = source.like
        self._band_height = rows_per_band(
            source.size,
            source.channels,
            refiner,
            budget.bytes / like.element_size(),
            like.device.type,
        )
        self._band: tuple[int, Tensor] | None = None

    @property
    @override
    def values_a_row(self) -> float:
        return self.channels * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        """See :class:`RowMap`; rows are asked for from top to bottom, or bands are made again."""
        parts = []
        while start < stop:
            first, band = self._band_of(start)
            end = min(stop, first + band.shape[1])
            parts.append(band[channels, start - first : end - first])
            start = end
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _band_of(self, row: int) -> tuple[int, Tensor]:
        """The first row of a band that holds `row`, and the band."""
        first = row // self._band_height * self._band_height
        if self._band is None or self._band[0] != first:
            self._band = None  # not two at once
            with stage('pixel refiner'):
                self._band = (
                    first,
                    self._refined(first, min(first + self._band_height, self.size[0])),
                )
        return self._band

    def _refined(self, start: int, stop: int) -> Tensor:
        """Rows of the refined maps (C, stop - start, W)."""
        top = max(start - self._refiner.reach, 0)
        bottom = min(stop + self._refiner.reach, self.size[0])
        image = resize_rows(self._image.to(self.like.dtype), top, bottom, self.size)
        prepared = self._refiner.prepare(image)
        band = self.like.new_empty(self.channels, stop - start, self.size[1])
        at_once = max(1, _values_at_once(band.device.type) // ((bottom - top) * self.size[1]))
        for first in range(0, self.channels, at_once):
            part = slice(first, first + at_once)
            rows = self._refiner(self.source.rows(top, bottom, part), prepared)
            band[part] = rows[:, start - top : stop - top]
        return band


def rows_per_band(
    size: tuple[int, int], prompts: int, refiner: PixelRefiner, values: float, device: str
) -> int:
    """Rows of a band without those beside it; bands of an image are about equally high.

    Args:
        size: (H, W) of the output.
        prompts: P, score maps of the band.
        refiner: says its reach and planes.
        values: how many numbers may be held at once.
        device: ``'cpu'`` or ``'cuda'``.

    Example:
        >>> from ovseg.refiners import PAMR
        >>> rows_per_band((500, 400), 21, PAMR(), 64e6, 'cpu')
        500
        >>> rows_per_band((500, 400), 171, PAMR(), 64e6, 'cpu')
        250
    """
    height, width = size
    beside = 2 * refiner.planes  # the softmax has its input and its output
    free = _BAND_SHARE * values - _COPIES * _values_at_once(device)
    if prompts * height + beside * height <= free / width:
        return height  # no rows beside it
    free = free / width - beside * 2 * refiner.reach
    rows = max(1, int(free / (prompts + beside)))
    return math.ceil(height / math.ceil(height / rows))


def _values_at_once(device: str) -> int:
    return _VALUES_AT_ONCE.get(device, _VALUES_AT_ONCE['cpu'])
