"""From score maps on a patch grid to labels at full size, strip by strip.

The plain way holds (classes, height, width) scores at full size: 7 GB for 847 classes on a
2048 x 1024 image. Every step from scores to labels is local to a pixel row, so strips of rows with
a bounded number of bytes give the same labels in bounded memory, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg.encoders.dense import NO_MARGINS, Margins
from ovseg.images.windows import Box
from ovseg.row_resize import read_resized, resize_rows

# Live copies of a strip while it is made: two interpolated rows, their mean, and what the decision
# (softmax, aggregation) adds.
_STRIP_COPIES = 5


@dataclass(frozen=True)
class RegionScores:
    """Scores that hold for whole regions of an image, to be averaged in.

    Attributes:
        scores: (P, R).
        regions: (height, width) int64 of the network's input, which region a pixel belongs to.
        share: in [0, 1], how much they count beside the maps.
    """

    scores: Tensor
    regions: Tensor
    share: float


@dataclass(frozen=True)
class ScoreMaps:
    """Scores of one image on the patch grids of its windows.

    Attributes:
        maps: (windows, P, h, w).
        boxes: where each window lies in the input, (y1, x1, y2, x2), end exclusive.
        input_size: (height, width) of the network's input in pixels.
        margins: how far each map reaches beyond its box.
        of_regions: averaged in at the input size, or None.
    """

    maps: Tensor
    boxes: list[Box]
    input_size: tuple[int, int]
    margins: Margins = NO_MARGINS
    of_regions: RegionScores | None = None


def input_rows(scores: ScoreMaps, start: int, stop: int) -> Tensor:
    """Rows of the score map at the network's input size; windows are averaged where they overlap.

    Args:
        scores: the windows' maps.
        start: first row.
        stop: one past the last row.

    Returns:
        (P, stop - start, input width).
    """
    rows = _mean_of_windows(scores, start, stop)
    if scores.of_regions is None:
        return rows
    painted = scores.of_regions.scores[:, scores.of_regions.regions[start:stop]]
    return torch.lerp(rows, painted, scores.of_regions.share)


def _mean_of_windows(scores: ScoreMaps, start: int, stop: int) -> Tensor:
    height, width = scores.input_size
    if scores.boxes == [(0, 0, height, width)]:
        return _window_rows(scores.maps[0], start, stop, scores.input_size, scores.margins)
    total = scores.maps.new_zeros(scores.maps.shape[1], stop - start, width)
    count = scores.maps.new_zeros(stop - start, width)
    for window, (y1, x1, y2, x2) in zip(scores.maps, scores.boxes, strict=True):
        top, bottom = max(start, y1), min(stop, y2)
        if top >= bottom:
            continue
        rows = _window_rows(window, top - y1, bottom - y1, (y2 - y1, x2 - x1), scores.margins)
        total[:, top - start : bottom - start, x1:x2] += rows
        count[top - start : bottom - start, x1:x2] += 1
    return total.div_(count)


def _window_rows(
    window: Tensor, start: int, stop: int, size: tuple[int, int], margins: Margins
) -> Tensor:
    """Rows of a window's map at the window's pixel size, without its margins."""
    top, bottom, left, right = margins
    full = (size[0] + top + bottom, size[1] + left + right)
    rows = resize_rows(window, start + top, stop + top, full)
    return rows[..., left : left + size[1]]


def output_rows(
    scores: ScoreMaps,
    output_size: tuple[int, int],
    start: int,
    stop: int,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Rows of the score map at the output size: windows -> input size -> output size.

    Both resizes are bilinear, one after the other, as mmseg's ``EncoderDecoder`` has them: one
    resize straight to the output size gives other numbers.

    Args:
        scores: the windows' maps.
        output_size: (H, W) in pixels.
        start: first row.
        stop: one past the last row.
        activation: applied to each value at the input size, between the two resizes.

    Returns:
        (P, stop - start, W).
    """

    def read(first: int, last: int) -> Tensor:
        rows = input_rows(scores, first, last)
        return rows if activation is None else activation(rows)

    if output_size == scores.input_size:
        return read(start, stop)
    return read_resized(read, scores.input_size[0], output_size, start, stop)


def output_strips(
    scores: ScoreMaps,
    output_size: tuple[int, int],
    strip_bytes: int,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[tuple[int, int, Tensor]]:
    """Strips of :func:`output_rows` that cover the output, from top to bottom.

    Args:
        scores: the windows' maps.
        output_size: (H, W) in pixels.
        strip_bytes: about how many bytes a strip and its temporaries may take.
        activation: see :func:`output_rows`.

    Yields:
        ``(start, stop, rows)`` with rows (P, stop - start, W).
    """
    height = output_size[0]
    rows_at_once = _rows_per_strip(scores, output_size, strip_bytes)
    for start in range(0, height, rows_at_once):
        stop = min(start + rows_at_once, height)
        yield start, stop, output_rows(scores, output_size, start, stop, activation)


def _rows_per_strip(scores: ScoreMaps, output_size: tuple[int, int], strip_bytes: int) -> int:
    prompts = scores.maps.shape[1]
    row = output_size[1]
    if output_size != scores.input_size:
        # A strip of output rows reads input rows in proportion to the two heights.
        row += scores.input_size[1] * scores.input_size[0] / output_size[0]
    return max(1, int(strip_bytes / (_STRIP_COPIES * prompts * row * scores.maps.element_size())))


def labels_in_strips(
    scores: ScoreMaps,
    output_size: tuple[int, int],
    decide: Callable[[Tensor], Tensor],
    strip_bytes: int,
    collect: Callable[[Tensor], Tensor] | None = None,
    strips: Iterable[tuple[int, int, Tensor]] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Decides every pixel's label from scores that never exist at full size.

    Args:
        scores: the windows' maps.
        output_size: (H, W) in pixels.
        decide: (1, P, rows, W) scores -> (1, rows, W) labels, pixel by pixel.
        strip_bytes: about how many bytes a strip and its temporaries may take.
        collect: (1, P, rows, W) scores -> (1, K, rows, W); its results are returned at full size.
            This is what costs memory in proportion to the classes; None when not needed.
        strips: other strips than the plain ones of `scores`, such as refined ones.

    Returns:
        (H, W) int64 labels and (K, H, W) collected scores or None.
    """
    labels = torch.empty(output_size, dtype=torch.int64, device=scores.maps.device)
    collected: Tensor | None = None
    if strips is None:
        strips = output_strips(scores, output_size, strip_bytes)
    for start, stop, rows in strips:
        labels[start:stop] = decide(rows[None])[0]
        if collect is not None:
            part = collect(rows[None])[0]
            if collected is None:
                collected = part.new_empty(part.shape[0], *output_size)
            collected[:, start:stop] = part
    return labels, collected
