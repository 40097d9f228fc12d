"""Proxy affinity: similarities above the ordinary decide which patches are mixed."""

from __future__ import annotations

import torch
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
    return _rows(units, beta * mean.reshape(-1, 1, 1), gamma, 0, units.shape[2])


def pool_by_itself(
    features: Tensor, beta: float = 1.0, gamma: float = 10.0, megabytes: float = 256.0
) -> Tensor:
    """Returns maps whose patches were mixed by the proxy affinity of the same maps.

    Args:
        features: (B, C, h, w), not normalised.
        beta: as in :func:`proxy_affinity`, whose mean is taken over each map by itself.
        gamma: likewise.
        megabytes: about what rows of the affinity may take at once; the result does not depend on
            it.

    Returns:
        (B, C, h, w).

    Source: RADSeg, self-correlating global aggregation (SCGA), with the defaults.
    """
    units = F.normalize(features, dim=1).flatten(2)
    ordinary = beta * mean_similarity(features).reshape(-1, 1, 1)
    values = features.flatten(2).transpose(1, 2)
    batch, _, count = units.shape
    # Logits, which of them are negative, and their softmax.
    row = batch * count * (2 * units.element_size() + 1)
    at_once = max(1, int(megabytes * 1e6 / row))
    pooled = [
        _rows(units, ordinary, gamma, start, min(start + at_once, count)) @ values
        for start in range(0, count, at_once)
    ]
    return torch.cat(pooled, dim=1).transpose(1, 2).unflatten(2, features.shape[2:])


def _rows(units: Tensor, ordinary: Tensor, gamma: float, start: int, stop: int) -> Tensor:
    """Rows (B, stop - start, N) of the affinity of unit vectors (B, C, N)."""
    logits = units[:, :, start:stop].transpose(1, 2) @ units
    logits = logits.sub_(ordinary).mul_(gamma)
    itself = logits.diagonal(start, 1, 2).clone()
    logits.masked_fill_(logits < 0, -float('inf'))
    logits.diagonal(start, 1, 2).copy_(itself)
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
