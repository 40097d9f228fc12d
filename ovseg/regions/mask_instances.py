"""Things as masks that may overlap: the best pairs of a mask and a class, whatever wins a pixel."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_maps import masks_at, select_queries
from ovseg.scores.row_map import RowMap, WindowMaps

# Added to a mask's area, as released.
_TINY = 1e-6
_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Instances:
    """Masks with a class each, the surest first; they may overlap.

    Attributes:
        masks: (N, H, W) bool.
        labels: (N,) int64, indices of classes.
        scores: (N,) in [0, 1], of class and mask together.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def find_instances(
    maps: WindowMaps,
    class_scores: Tensor,
    output_size: tuple[int, int],
    budget: MemoryBudget,
    *,
    stuff: Collection[int] = frozenset(),
    count: int = 100,
    masks_of: Callable[[WindowMaps, tuple[int, int]], RowMap] = masks_at,
) -> Instances:
    """The best pairs of a mask and a class.

    Pairs of stuff are dropped only after the best were picked, so fewer may remain. A pair's score
    is that of the class times how sure the mask is inside of itself.

    Args:
        maps: of :func:`~ovseg.regions.mask_maps.mask_maps`, M masks.
        class_scores: (M, K) in [0, 1].
        output_size: (H, W) of the original image.
        budget: what a strip of the masks may take.
        stuff: classes that are no things.
        count: pairs that are picked; published 100.
        masks_of: makes masks in [0, 1] at the image's own size of logits.

    Raises:
        UserError: not one row of scores a mask, or a count below 1.

    Source: Mask2Former (arXiv 2112.01527), instance inference of its release.
    """
    if class_scores.ndim != 2 or len(class_scores) != maps.channels:
        raise UserError(
            f'{maps.channels} masks need scores ({maps.channels}, K), got '
            f'{tuple(class_scores.shape)}'
        )
    if count < 1:
        raise UserError(f'the count of instances must be at least 1, got {count}')
    size = (output_size[0], output_size[1])
    flat = class_scores.float().flatten()
    best = flat.topk(min(count, len(flat)))
    queries, labels = best.indices // class_scores.shape[1], best.indices % class_scores.shape[1]
    if stuff:
        none = torch.tensor(sorted(stuff), device=labels.device)
        is_thing = ~torch.isin(labels, none)
        queries, labels = queries[is_thing], labels[is_thing]
    scores = class_scores.float()[queries, labels]
    if not len(labels):
        nothing = torch.zeros(0, *size, dtype=torch.bool, device=scores.device)
        return Instances(nothing, labels, scores)
    used, index = queries.unique(return_inverse=True)
    masks, sureness = _binary_masks(masks_of(select_queries(maps, used), size), budget)
    scores = scores * sureness[index]
    order = scores.argsort(descending=True, stable=True)
    return Instances(masks[index[order]], labels[order], scores[order])


def _binary_masks(masks: RowMap, budget: MemoryBudget) -> tuple[Tensor, Tensor]:
    """Masks (M, H, W) bool, and their mean inside of themselves (M,)."""
    binary = torch.empty(masks.channels, *masks.size, dtype=torch.bool, device=masks.like.device)
    inside = torch.zeros(masks.channels, dtype=torch.float64, device=masks.like.device)
    for start, stop in masks.strips(budget):
        rows = masks.rows(start, stop).float()
        covered = rows > _THRESHOLD
        binary[:, start:stop] = covered
        inside += (rows * covered).sum((1, 2)).double()
    return binary, (inside / (binary.sum((1, 2)) + _TINY)).float()
