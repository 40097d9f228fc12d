"""Region tokens: copies of the class token that look at the patches of one region only."""

from __future__ import annotations

import torch
from torch import Tensor


def region_membership(regions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which patches belong to which region, and each patch's region as an index.

    Args:
        regions: (B, h, w) int64, any ids.

    Returns:
        (B, R, h*w) bool and (B, h, w) int64. R is the largest number of regions in a map; rows that
        a map with fewer regions leaves over are empty.

    Example:
        >>> region_membership(torch.tensor([[[7, 3]], [[5, 5]]]))[0].int().tolist()
        [[[0, 1], [1, 0]], [[1, 1], [0, 0]]]
    """
    index = torch.stack([region_map.unique(return_inverse=True)[1] for region_map in regions])
    rows = torch.arange(int(index.max()) + 1, device=index.device)
    return index.flatten(1)[:, None] == rows[None, :, None], index


def region_token_bias(membership: Tensor, dtype: torch.dtype, prefix: int = 1) -> Tensor:
    """Returns the attention bias of ``[region tokens, prefix, patches]``.

    Region tokens see the prefix and their own patches; prefix and patches see each other and no
    region token, so that they are what they were.

    Args:
        membership: (B, R, N) bool.
        dtype: of the queries.
        prefix: class and register tokens before the patches.

    Returns:
        (B, 1, R + prefix + N, R + prefix + N): 0 where a row may look, else -inf.
    """
    batch, regions, patches = membership.shape
    allowed = membership.new_zeros(batch, 1, *[regions + prefix + patches] * 2)
    allowed[..., regions:, regions:] = True
    allowed[..., :regions, regions : regions + prefix] = True
    allowed[..., :regions, regions + prefix :] = membership[:, None]
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, -float('inf'))
