"""Proxy affinity: similarities above the ordinary decide which patches are mixed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def mean_similarity(features: Tensor) -> Tensor:
    """Returns the mean cosine over all pairs of patches, without making the pairs.

    Args:
        features: (B, C, h, w) of the companion, not normalised.

    Returns:
        (B,). The mean over several maps of one size is the mean of theirs.

    Example:
        >>> import torch
        >>> mean_similarity(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
        tensor([0.5000])
    """
    return F.normalize(features, dim=1).flatten(2).mean(2).square().sum(1)


def proxy_affinity(features: Tensor, mean: Tensor, beta: float = 1.2, gamma: float = 3.0) -> Tensor:
    """Returns how much each patch takes from each patch of its map, rows summing to 1.

    ``softmax((S - beta * mean) * gamma)`` over the pairs whose similarity exceeds ``beta * mean``;
    the others get 0. A patch always sees itself, so that no row is empty where all patches are
    alike.

    Args:
        features: (B, C, h, w) of the companion, not normalised.
        mean: (B,) or scalar, what counts as an ordinary similarity; see :func:`mean_similarity`.
            Over which maps it is taken belongs to the method: each window by itself in ProxyCLIP,
            all windows of the image in Trident.
        beta: factor of the mean.
        gamma: steepness.

    Returns:
        (B, h*w, h*w), patches row-major.

    Source: ProxyCLIP (arXiv 2408.04883) and its released code.
    """
    units = F.normalize(features, dim=1).flatten(2)
    logits = units.transpose(1, 2) @ units
    logits = logits.sub_(beta * mean.reshape(-1, 1, 1)).mul_(gamma)
    itself = logits.diagonal(dim1=1, dim2=2).clone()
    logits.masked_fill_(logits < 0, -float('inf'))
    logits.diagonal(dim1=1, dim2=2).copy_(itself)
    return logits.softmax(dim=2)


def mix_values(values: Tensor, affinity: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns CLIP's values mixed by an affinity, on the companion's grid.

    Args:
        values: (B, C, h, w) on CLIP's grid; resized bilinearly to the companion's.
        affinity: (B, N, N) on the companion's grid.
        grid: (height, width) of the companion's grid, N patches.

    Returns:
        (B, C, height, width). All heads share the affinity, so they are mixed as one.
    """
    if tuple(values.shape[2:]) != tuple(grid):
        values = F.interpolate(values, size=grid, mode='bilinear', align_corners=False)
    mixed = affinity.to(values.dtype) @ values.flatten(2).transpose(1, 2)
    return mixed.transpose(1, 2).unflatten(2, grid)
