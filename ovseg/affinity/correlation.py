"""Correlations of patches, and pooling features by them."""

from __future__ import annotations

from torch import Tensor

# Keeps a patch that correlates with nothing from dividing by zero (CLIP-DINOiser's constant).
_EPSILON = 1e-6


def patch_correlation(features: Tensor, threshold: float = 0.0) -> Tensor:
    """Returns the cosine of every pair of patches.

    Args:
        features: (B, C, h, w).
        threshold: entries under it become 0; 0 keeps all of them, negative ones too.

    Returns:
        (B, h*w, h*w), patches row-major.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.2; LOST and TokenCut use the same measure.

    Example:
        >>> import torch
        >>> patch_correlation(torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]]), threshold=0.7)
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    flat = features.flatten(2)
    flat = flat / flat.norm(dim=1, keepdim=True)
    correlation = flat.transpose(1, 2) @ flat
    if threshold:
        correlation = correlation.masked_fill(correlation < threshold, 0.0)
    return correlation


def pool_by_affinity(features: Tensor, affinity: Tensor) -> Tensor:
    """Returns, for each patch, the mean of all patches weighted by their affinity to it.

    Args:
        features: (B, C, h, w).
        affinity: (B, h*w, h*w); row n holds the weights for patch n.

    Returns:
        (B, C, h, w).

    Source: CLIP-DINOiser (arXiv 2312.12359) equation 3.
    """
    total = affinity.sum(dim=2, keepdim=True) + _EPSILON
    pooled = affinity @ features.flatten(2).transpose(1, 2).to(affinity.dtype) / total
    return pooled.transpose(1, 2).unflatten(2, features.shape[2:])
