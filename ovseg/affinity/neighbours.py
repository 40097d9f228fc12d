"""Attention to neighbours: a Gaussian of the distance between patches."""

from __future__ import annotations

import torch
from torch import Tensor


def neighbour_bias(
    grid: tuple[int, int],
    std: float,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    prefix: int = 1,
) -> Tensor:
    """Returns ``exp(-distance^2 / (2 std^2))`` between all patches of a grid, behind a prefix.

    Args:
        grid: (h, w) patches.
        std: standard deviation in patches.
        device: of the result.
        dtype: of the result; computed in float32.
        prefix: class and register tokens before the patches.

    Returns:
        (prefix + h*w, prefix + h*w), 1 on the diagonal; rows and columns of the prefix are 0.

    Source: NACLIP (arXiv 2404.08181), section 3.2; it is added to the logits before the softmax.

    Example:
        >>> neighbour_bias((1, 2), 1.0)
        tensor([[0.0000, 0.0000, 0.0000],
                [0.0000, 1.0000, 0.6065],
                [0.0000, 0.6065, 1.0000]])
    """
    axes = []
    for length in grid:
        place = torch.arange(length, device=device, dtype=torch.float32)
        axes.append((-(place[:, None] - place).square() / (2 * std**2)).exp_())
    # The Gaussian of a plane is the product of its axes: no (h, w, h, w) table of distances.
    patches = torch.kron(axes[0], axes[1])
    count = prefix + len(patches)
    bias = torch.zeros(count, count, device=device, dtype=dtype)
    bias[prefix:, prefix:] = patches
    return bias
