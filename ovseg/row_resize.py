"""Bilinear resizes that are computed, or read, some rows at a time.

A row of a resized map depends on two rows of its source, whatever the map's height. So maps that
would not fit into memory at their full size can go through any chain of resizes in strips.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# (first row, one past the last row) -> those rows of some maps, (P, rows, W).
ReadRows = Callable[[int, int], Tensor]


def source_rows(
    start: int, stop: int, full: int, source: int, like: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Which source rows a bilinear resize reads for some output rows, align_corners False.

    Args:
        start: first output row.
        stop: one past the last output row.
        full: number of output rows in all.
        source: number of source rows in all.
        like: gives the device; None for the CPU.

    Returns:
        ``(lower, upper, weight)``, each (stop - start,): indices and the weight of `upper`.
    """
    scale = source / full
    device = None if like is None else like.device
    position = (torch.arange(start, stop, device=device) + 0.5) * scale - 0.5
    position = position.clamp_(min=0)
    lower = position.floor().long().clamp_(max=source - 1)
    return lower, (lower + 1).clamp_(max=source - 1), position - lower


def rows_read(start: int, stop: int, full: int, source: int) -> tuple[int, int]:
    """The first source row that a resize reads for some output rows, and one past the last.

    Args:
        start: first output row.
        stop: one past the last output row.
        full: number of output rows in all.
        source: number of source rows in all.
    """
    if full == source:
        return start, stop
    lower, upper, _ = source_rows(start, stop, full, source)
    return int(lower[0]), int(upper[-1]) + 1


def resize_rows(
    source: Tensor,
    start: int,
    stop: int,
    size: tuple[int, int],
    first: int = 0,
    source_height: int | None = None,
) -> Tensor:
    """Rows ``[start, stop)`` of a bilinear resize (align_corners False, no antialias).

    Args:
        source: (P, h, w) scores, or a strip of their rows.
        start: first output row.
        stop: one past the last output row.
        size: (H, W) of the whole output.
        first: index of the source's first row, if `source` is a strip.
        source_height: rows of the whole source, if `source` is a strip.

    Returns:
        (P, stop - start, W).

    Example:
        >>> resize_rows(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), 1, 2, (3, 3))
        tensor([[[1.0000, 1.5000, 2.0000]]])
    """
    height = source_height if source_height is not None else source.shape[1]
    if height == size[0]:
        rows = source[:, start - first : stop - first]
    else:
        lower, upper, weight = source_rows(start, stop, size[0], height, source)
        weight = weight.to(source.dtype)[:, None]
        rows = torch.lerp(source[:, lower - first], source[:, upper - first], weight)
    if rows.shape[2] == size[1]:
        return rows
    return F.interpolate(
        rows[None], size=(rows.shape[1], size[1]), mode='bilinear', align_corners=False
    )[0]


def read_resized(
    read: ReadRows, source_height: int, size: tuple[int, int], start: int, stop: int
) -> Tensor:
    """Rows ``[start, stop)`` of a bilinear resize of maps that are themselves read by rows.

    Args:
        read: gives the rows of the source; neighbouring strips share at most two of them.
        source_height: rows of the whole source.
        size: (H, W) of the whole output.
        start: first output row.
        stop: one past the last output row.

    Returns:
        (P, stop - start, W).
    """
    first, end = rows_read(start, stop, size[0], source_height)
    return resize_rows(read(first, end), start, stop, size, first, source_height)
