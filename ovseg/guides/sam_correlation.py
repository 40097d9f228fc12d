"""SAM's correlation of image patches: its last attention, kept where its values agree, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam_encoder import GlobalAttention, heads_joined
from ovseg.sizes import spatial_size

# A threshold above this would leave a patch hardly more than itself.
_HIGHEST_THRESHOLD = 0.9
# What stands for a negative threshold where it is not taken as it is.
_FOR_NEGATIVE = 0.6


@dataclass(frozen=True)
class SAMCorrelation:
    """How SAM's last attention becomes weights between patches.

    Attributes:
        cosine_factor: the least cosine of two patches' values, as a factor of the mean cosine of
            the patch to all; published 1.2, for VOC20 0, for Cityscapes 3.
        keep_negative_thresholds: False puts 0.6 in place of a threshold below 0 (published for
            ADE20K and Cityscapes).

    Source: Trident (arXiv 2411.09219); the two constants are the released code's.
    """

    cosine_factor: float = 1.2
    keep_negative_thresholds: bool = True

    def thresholds(self, units: Tensor) -> Tensor:
        """The least cosine that counts, for each patch.

        Args:
            units: (heads, n, d) values of length 1.

        Returns:
            (n,).
        """
        # The mean cosine to all patches is the cosine to their mean: no pairs are made.
        mean = (units * units.mean(1, keepdim=True)).sum(-1).mean(0)
        thresholds = self.cosine_factor * mean
        if not self.keep_negative_thresholds:
            thresholds = torch.where(thresholds < 0, _FOR_NEGATIVE, thresholds)
        return thresholds.clamp_max(_HIGHEST_THRESHOLD)

    def rows(self, weights: Tensor, units: Tensor, thresholds: Tensor, queries: slice) -> Tensor:
        """Rows of the correlation matrix.

        Args:
            weights: (heads, m, n) attention of m queries, over the n patches of the image.
            units: (heads, n, d) values of length 1.
            thresholds: (n,), from :meth:`thresholds`.
            queries: which m of the n patches ask.

        Returns:
            (m, n), rows summing to 1: the mean over heads of the attention where the values'
            cosine exceeds the threshold. A row of a patch whose whole attention fell away is 0.
        """
        total = weights.new_zeros(weights.shape[1:])
        least = thresholds[queries, None]
        for attention, head in zip(weights, units, strict=True):
            total.addcmul_(attention, (head[queries] @ head.T).gt_(least))
        return total / total.sum(1, keepdim=True).clamp_min(torch.finfo(total.dtype).tiny)


@dataclass(frozen=True)
class Aggregated:
    """What one walk over SAM's last attention gave.

    Attributes:
        features: (1, D, H, W), aggregated.
        mixed: (N, C), what SAM's own attention gives over the whole frame, or None.
    """

    features: Tensor
    mixed: Tensor | None


def valid_patches(frame_grid: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Which patches of the frame show the image: (g*g,) bool, row-major."""
    inside = torch.zeros(frame_grid, dtype=torch.bool)
    inside[: grid[0], : grid[1]] = True
    return inside.flatten()


def correlation_rows(
    attention: GlobalAttention,
    inside: Tensor,
    settings: SAMCorrelation,
    queries_at_once: int,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """The correlation matrix block by block, so that it never exists as a whole.

    Args:
        attention: SAM's last one.
        inside: (N,) bool, the n patches that show the image.
        settings: which pairs count.
        queries_at_once: rows of a block.

    Yields:
        ``(queries, rows, weights)``: which of the n patches ask, their rows (m, n) of the
        correlation matrix, and the attention (heads, m, N) over the whole frame behind them.
    """
    places = inside.nonzero()[:, 0]
    units = F.normalize(attention.values[:, places].float(), dim=-1)
    thresholds = settings.thresholds(units)
    for start in range(0, len(places), queries_at_once):
        queries = slice(start, min(start + queries_at_once, len(places)))
        weights = attention.weights(places[queries])
        rows = settings.rows(weights[..., places].float(), units, thresholds, queries)
        yield queries, rows, weights


def aggregate(
    attention: GlobalAttention,
    features: Tensor,
    frame_grid: tuple[int, int],
    settings: SAMCorrelation,
    queries_at_once: int,
    with_mixed: bool,
) -> Aggregated:
    """Returns features pooled over the whole image by SAM's correlation.

    Args:
        attention: SAM's last one.
        features: (1, D, H, W) on the patches of SAM that show the image.
        frame_grid: (g, g) of SAM's whole frame.
        settings: which pairs count.
        queries_at_once: rows of the matrix that are held at once; the result does not depend on it.
        with_mixed: also finish SAM's own attention on the way, for its mask decoder.

    Source: Trident (arXiv 2411.09219).
    """
    inside = valid_patches(frame_grid, spatial_size(features)).to(features.device)
    flat = features[0].flatten(1).T
    pooled = torch.empty_like(flat)
    count = len(inside)
    own = attention.values.new_empty(len(attention.values), count, attention.values.shape[2])
    places = inside.nonzero()[:, 0]
    for queries, rows, weights in correlation_rows(attention, inside, settings, queries_at_once):
        pooled[queries] = rows.to(flat.dtype) @ flat
        if with_mixed:
            own[:, places[queries]] = weights @ attention.values
    if with_mixed:
        for others in (~inside).nonzero()[:, 0].split(queries_at_once):
            own[:, others] = attention.weights(others) @ attention.values
    return Aggregated(
        pooled.T.unflatten(1, features.shape[2:])[None], heads_joined(own) if with_mixed else None
    )
