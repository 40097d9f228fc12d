"""Joining the feature maps of overlapping windows to one map of the whole image."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.images.windows import Box


def splice_cell(patch: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in pixels of a cell of the joint map: the finest that windows tell apart.

    Args:
        patch: pixels per patch, (height, width).
        stride: between windows, (height, width) in pixels.

    Example:
        >>> splice_cell((16, 16), (24, 32))
        (8, 16)
    """
    return math.gcd(patch[0], stride[0]), math.gcd(patch[1], stride[1])


def splice_maps(
    maps: Tensor, boxes: list[Box], size: tuple[int, int], cell: tuple[int, int]
) -> Tensor:
    """Returns one map of an image: the mean of its windows' maps wherever they overlap.

    Args:
        maps: (windows, C, h, w).
        boxes: where each window lies, (y1, x1, y2, x2), end exclusive, on multiples of `cell`.
        size: (height, width) of the image, multiples of `cell`.
        cell: (height, width) of a cell of the result in pixels; a patch covers whole cells.

    Returns:
        (1, C, height / cell, width / cell).

    Source: the splicing of Trident (arXiv 2411.09219), on the patch grid.

    Example:
        >>> left, right = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
        >>> boxes = [(0, 0, 1, 2), (0, 1, 1, 3)]
        >>> splice_maps(torch.stack([left, right]), boxes, (1, 3), (1, 1))
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    total = maps.new_zeros(maps.shape[1], size[0] // cell[0], size[1] // cell[1])
    count = maps.new_zeros(total.shape[1:])
    for window, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
        rows = slice(y1 // cell[0], y2 // cell[0])
        columns = slice(x1 // cell[1], x2 // cell[1])
        repeats = (
            (rows.stop - rows.start) // window.shape[1],
            (columns.stop - columns.start) // window.shape[2],
        )
        for axis, times in zip((1, 2), repeats, strict=True):
            window = window.repeat_interleave(times, axis) if times > 1 else window
        total[:, rows, columns] += window
        count[rows, columns] += 1
    return (total / count)[None]


def join_windows(
    maps: Tensor,
    boxes: list[Box],
    size: tuple[int, int],
    patch: tuple[int, int],
    stride: tuple[int, int],
) -> Tensor:
    """Window maps joined to one map of the image, the mean where they overlap.

    Args:
        maps: (n, C, h, w) on the companion's grid.
        boxes: where the windows lie, (y1, x1, y2, x2) in pixels.
        size: (height, width) of the image in pixels, multiples of the patch.
        patch: pixels per patch of CLIP.
        stride: between windows in pixels.

    Returns:
        (1, C, height / cell, width / cell). A cell is CLIP's patch, divided by the whole factor by
        which the companion's grid is finer, and as fine as the stride needs. Maps that are no whole
        multiple of CLIP's grid are first resized to the nearest one.

    Source: Trident (arXiv 2411.09219) and its released code, whose strides are multiples of the
    patch.
    """
    y1, x1, y2, x2 = boxes[0]
    rows, columns = (y2 - y1) // patch[0], (x2 - x1) // patch[1]
    height, width = maps.shape[2:]
    if width % columns or height % rows:
        factor = max(1, round(height / rows))
        maps = F.interpolate(
            maps, size=(rows * factor, columns * factor), mode='bilinear', align_corners=False
        )
    else:
        factor = width // columns
    if any(side % factor for side in patch):
        raise UserError(
            f"the companion's grid is {factor} times as fine as CLIP's, which does not divide the "
            f'patch {patch}; choose another companion'
        )
    finest = (patch[0] // factor, patch[1] // factor)
    return splice_maps(maps, boxes, size, splice_cell(finest, stride))


def splice_features(
    features: DenseFeatures, boxes: list[Box], size: tuple[int, int], cell: tuple[int, int]
) -> DenseFeatures:
    """Returns the features of one image from those of its windows; see :func:`splice_maps`.

    Fields that are no maps (queries, keys, the global embedding) have no joint form and are left
    out.

    Args:
        features: of the windows, batch dimension = windows.
        boxes: where each window lies.
        size: (height, width) of the image in pixels.
        cell: (height, width) of a cell in pixels.
    """
    joined: dict[str, Any] = {}
    for field in fields(features):
        value = getattr(features, field.name)
        if isinstance(value, Tensor):
            is_map = value.ndim == 4
            joined[field.name] = splice_maps(value, boxes, size, cell) if is_map else None
    return replace(features, **joined)
