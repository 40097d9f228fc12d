"""From mask proposals and their class scores to instances, whose masks may overlap.

What average precision is counted of: the likeliest pairs of a mask and a class, however unsure,
each with a score that also says how sure the mask's own pixels are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.coco_masks import mask_record
from ovseg.errors import UserError
from ovseg.regions.mask_maps import masks_at, select_queries
from ovseg.scores.row_map import RowMap, WindowMaps

# Whole masks in memory at a time.
_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Instances:
    """Things of an image, the likeliest first.

    Attributes:
        labels: (N,) int64, their classes.
        scores: (N,) float32 in [0, 1].
        masks: N masks in COCO's run lengths, ``size`` and ``counts``.
    """

    labels: Tensor
    scores: Tensor
    masks: tuple[dict[str, Any], ...]


def find_instances(
    maps: WindowMaps,
    class_scores: Tensor,
    output_size: tuple[int, int],
    budget: MemoryBudget,
    *,
    stuff: Collection[int] = frozenset(),
    background: int | None = None,
    most: int = 100,
    mask_threshold: float = 0.5,
    masks_of: Callable[[WindowMaps, tuple[int, int]], RowMap] = masks_at,
) -> Instances:
    """Instances of an image from its masks.

    Of all pairs of a mask and a class the ``most`` with the highest scores count; those of stuff
    and of the background are then left out. An instance is where its mask's probability is above
    ``mask_threshold``, and its score is the pair's times the mean probability there. Masks without
    such a pixel are no instances.

    Args:
        maps: of :func:`~ovseg.regions.mask_maps.mask_maps`, M masks.
        class_scores: (M, K) in [0, 1]; -inf for a class that no mask can have.
        output_size: (H, W) of the original image.
        budget: what a strip of the masks may take.
        stuff: classes that are no things.
        background: the class that is no thing, or None.
        most: how many pairs count.
        mask_threshold: of pixels, in [0, 1).
        masks_of: makes masks in [0, 1] at the image's own size of logits.

    Raises:
        UserError: not one row of scores a mask.

    Source: Mask2Former's release, instance inference (``TEST.DETECTIONS_PER_IMAGE`` 100); FC-CLIP
    has the same.
    """
    if class_scores.ndim != 2 or len(class_scores) != maps.channels:
        raise UserError(
            f'{maps.channels} masks need scores ({maps.channels}, K), '
            f'got {tuple(class_scores.shape)}'
        )
    size, classes = (output_size[0], output_size[1]), class_scores.shape[1]
    scores, places = class_scores.float().flatten().sort(descending=True, stable=True)
    scores, places = scores[:most], places[:most]
    queries, labels = places // max(classes, 1), places % max(classes, 1)
    is_thing = scores > 0
    for label in {*stuff, *(() if background is None else (background,))}:
        is_thing &= labels != label
    scores, queries, labels = scores[is_thing], queries[is_thing], labels[is_thing]
    if not len(scores):
        return Instances(labels, scores, ())
    asked, which = queries.unique(return_inverse=True)
    records: list[dict[str, Any]] = []
    sureness: list[float] = []
    for block in asked.split(_AT_ONCE):
        probabilities = masks_of(select_queries(maps, block), size)
        masks, means = _cut(probabilities, budget, mask_threshold)
        records += [mask_record(mask.cpu().numpy())['segmentation'] for mask in masks]
        sureness += means
    scores = scores * scores.new_tensor(sureness)[which]
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > 0]
    return Instances(
        labels[order], scores[order], tuple(records[number] for number in which[order].tolist())
    )


def _cut(
    probabilities: RowMap, budget: MemoryBudget, threshold: float
) -> tuple[Tensor, list[float]]:
    """Masks (M, H, W) bool, and each one's mean probability inside, 0 for an empty one."""
    count, device = probabilities.channels, probabilities.like.device
    masks = torch.empty(count, *probabilities.size, dtype=torch.bool, device=device)
    sums = torch.zeros(count, dtype=torch.float64, device=device)
    for start, stop in probabilities.strips(budget):
        rows = probabilities.rows(start, stop)
        inside = rows > threshold
        masks[:, start:stop] = inside
        sums += (rows * inside).flatten(1).sum(1)
    return masks, (sums / masks.flatten(1).sum(1).clamp_min(1)).tolist()
