"""Scoped affinity: patches take from patches of their own region, by a companion's similarity."""

from __future__ import annotations

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.correlation import patch_correlation

# What windows are filled up with: later than any region, so never the one that nothing claimed.
PADDING_REGION = 2**20


def resize_regions(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns region maps of another size, nearest neighbour.

    Args:
        regions: (B, H, W) int64, below 2^24.
        size: (height, width) wanted.

    Example:
        >>> resize_regions(torch.tensor([[[0, 0, 7, 7]]]), (1, 2))
        tensor([[[0, 7]]])
    """
    if tuple(regions.shape[1:]) == tuple(size):
        return regions
    return F.interpolate(regions[:, None].float(), size=size, mode='nearest')[:, 0].long()


def region_distances(units: Tensor, regions: Tensor) -> Tensor:
    """Returns how far the regions of one map are from each other.

    Args:
        units: (C, h, w), unit vectors.
        regions: (h, w) int64.

    Returns:
        (R, R) for all regions but the smallest id, ascending: the highest cosine among them minus
        the cosine of their mean features.
    """
    _, index, count = regions.flatten().unique(return_inverse=True, return_counts=True)
    totals = units.new_zeros(len(count), len(units))
    means = totals.index_add_(0, index, units.flatten(1).T) / count[:, None]
    means = F.normalize(means, dim=1)[1:]
    cosines = means @ means.T
    return cosines.max() - cosines


def linked_groups(distances: Tensor, reach: float) -> Tensor:
    """Returns the groups of single linkage: chains of pairs no further apart than `reach`.

    This is DBSCAN with ``min_samples=1``.

    Args:
        distances: (R, R), symmetric.
        reach: largest distance of a link.

    Returns:
        (R,) int64, groups numbered in the order of their first member.

    Example:
        >>> positions = torch.tensor([0.0, 5.0, 0.3, 0.6])
        >>> linked_groups((positions[:, None] - positions).abs(), 0.4)
        tensor([0, 1, 0, 0])
    """
    # scipy numbers the components of undirected graphs in the order of their first member.
    linked = (distances <= reach).cpu().numpy()
    groups = connected_components(linked, directed=False)[1]
    return torch.from_numpy(groups).to(distances.device, torch.int64)


def merge_regions(features: Tensor, regions: Tensor, reach: float) -> Tensor:
    """Returns region maps in which regions with like features have become one.

    The region with the smallest id stands for what nothing claimed; it stays by itself.

    Args:
        features: (B, C, h, w) of the companion, not normalised.
        regions: (B, h, w) int64.
        reach: see :func:`linked_groups`; 0.2 in CorrCLIP.

    Returns:
        (B, h, w) int64; 0 is the smallest id, the others are numbered from 1.

    Source: CorrCLIP (arXiv 2411.10086), mask merging.
    """
    units = F.normalize(features, dim=1)
    merged = []
    for unit_map, region_map in zip(units, regions, strict=True):
        values, index = region_map.unique(return_inverse=True)
        if len(values) > 2:
            groups = linked_groups(region_distances(unit_map, region_map), reach)
            index = F.pad(groups + 1, (1, 0))[index]
        merged.append(index)
    return torch.stack(merged)


def scoped_affinity(features: Tensor, regions: Tensor, temperature: float = 4.0) -> Tensor:
    """Returns how much each patch takes from each patch of its map, rows summing to 1.

    ``softmax(temperature * S)`` over the pairs within a region. Of pairs with a patch of the
    smallest id, which nothing claimed, those with more than the mean similarity of the map count. A
    patch always sees itself.

    Args:
        features: (B, C, h, w) of the companion, not normalised.
        regions: (B, h, w) int64.
        temperature: factor of the similarities.

    Returns:
        (B, h*w, h*w), patches row-major.

    Source: CorrCLIP (arXiv 2411.10086), scope and value reconstruction.
    """
    similarity = patch_correlation(features)
    ids = regions.flatten(1)
    unclaimed = ids == ids.amin(1, keepdim=True)
    either = unclaimed[:, :, None] | unclaimed[:, None]
    alike = similarity > similarity.mean((1, 2), keepdim=True)
    allowed = torch.where(either, alike, ids[:, :, None] == ids[:, None])
    allowed.diagonal(dim1=1, dim2=2).fill_(True)
    return (similarity * temperature).masked_fill_(~allowed, -float('inf')).softmax(2)
