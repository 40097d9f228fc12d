"""Sizes as every part of ovseg says them: (height, width)."""

from __future__ import annotations

from torch import Tensor


def spatial_size(maps: Tensor) -> tuple[int, int]:
    """(height, width) of images or maps.

    Args:
        maps: (..., height, width).

    Example:
        >>> import torch
        >>> spatial_size(torch.zeros(2, 3, 5, 7))
        (5, 7)
    """
    height, width = maps.shape[-2:]
    return height, width
