"""A refiner at the image's own size, in bands of bounded memory.

Such a refiner lets a pixel look some rows up and down (its reach). A band is therefore computed
with that many rows more on both sides, which are then cut off: what is left equals the plain
computation. A band is as high as memory allows, because the rows beside it cost time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from ovseg.row_resize import resize_rows
from ovseg.scores.upsample import ScoreMaps, output_rows

# Score maps refined at once: few, so that they stay in a processor's caches; on a GPU more, so that
# it has work.
_VALUES_AT_ONCE = {'cpu': 1 << 20, 'cuda': 1 << 23}
# Copies of these while they are refined: upsampled twice, padded, in and out.
_COPIES = 6
# Of the memory, what the refined band may take; the rest is for deciding its labels.
_BAND_SHARE = 0.7
_STRIP_COPIES = 3


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


@dataclass(frozen=True)
class PixelStage:
    """A pixel refiner and the image that it reads.

    Attributes:
        refiner: the refiner.
        image: (C, h, w), the network's input; bilinearly resized to the output.
    """

    refiner: PixelRefiner
    image: Tensor


def refined_strips(
    scores: ScoreMaps, stage: PixelStage, output_size: tuple[int, int], strip_bytes: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Strips of the refined score map at the output size.

    Args:
        scores: the windows' maps.
        stage: refiner and image.
        output_size: (H, W) in pixels.
        strip_bytes: about how many bytes a band, its temporaries and the decision may take. What
            the refiner's reach costs is needed in any case.

    Yields:
        ``(start, stop, rows)`` with rows (P, stop - start, W), from top to bottom.
    """
    height, width = output_size
    prompts, size_of = scores.maps.shape[1], scores.maps.element_size()
    band = rows_per_band(
        output_size, prompts, stage.refiner, strip_bytes / size_of, scores.maps.device.type
    )
    for start in range(0, height, band):
        stop = min(start + band, height)
        refined = _refined_band(scores, stage, output_size, start, stop)
        budget = (1 - _BAND_SHARE) * strip_bytes
        rows = max(1, int(budget / (_STRIP_COPIES * prompts * width * size_of)))
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            yield first, last, refined[:, first - start : last - start]


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


def _refined_band(
    scores: ScoreMaps, stage: PixelStage, size: tuple[int, int], start: int, stop: int
) -> Tensor:
    """Rows of the refined score map (P, stop - start, W)."""
    top = max(start - stage.refiner.reach, 0)
    bottom = min(stop + stage.refiner.reach, size[0])
    image = resize_rows(stage.image.to(scores.maps.dtype), top, bottom, size)
    prepared = stage.refiner.prepare(image)
    prompts = scores.maps.shape[1]
    band = scores.maps.new_empty(prompts, stop - start, size[1])
    at_once = max(1, _values_at_once(band.device.type) // ((bottom - top) * size[1]))
    for first in range(0, prompts, at_once):
        part = replace(scores, maps=scores.maps[:, first : first + at_once])
        rows = stage.refiner(output_rows(part, size, top, bottom), prepared)
        band[first : first + at_once] = rows[:, start - top : stop - top]
    return band
