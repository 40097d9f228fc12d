"""What a SAM 3 is trained by: presence, scores and boxes of its queries, masks, a semantic map.

Source: SAM 3 (arXiv 2511.16719), section 3 and appendix: a global presence and local queries, which
learn only from phrases that are there; DETR's one-to-one matching; focal and dice losses of masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from ovseg.training.instance_matching import box_overlap, match_instances
from ovseg.training.losses.mask_losses import dice_loss, focal_loss


@dataclass(frozen=True)
class ConceptWeights:
    """Weights of the losses; those of boxes and masks are means over instances."""

    presence: float = 2.0
    score: float = 2.0
    distance: float = 5.0
    overlap: float = 2.0
    focal: float = 20.0
    dice: float = 2.0


@dataclass(frozen=True, eq=False)
class ConceptOutputs:
    """What a SAM 3 says of R pairs of an image and a phrase, after each of its L decoder layers.

    Attributes:
        presence: (L, R) logits.
        scores: (L, R, N) logits.
        boxes: (L, R, N, 4), centre x, centre y, width, height in [0, 1].
        drawn: (D,) int64, ascending, questions of which there are masks: all that name something
            there at least.
        masks: (D, N, s, s) logits, of the last layer.
        semantic: (D, s, s) logits.
    """

    presence: Tensor
    scores: Tensor
    boxes: Tensor
    drawn: Tensor
    masks: Tensor
    semantic: Tensor


def concept_losses(
    found: ConceptOutputs,
    masks: Tensor,
    targets: Tensor,
    members: Tensor,
    weights: ConceptWeights | None = None,
) -> dict[str, Tensor]:
    """Returns the losses of R questions.

    Args:
        found: what the model says.
        masks: (R, M, s, s) bool, instances of each question's image.
        targets: (R, M, 4), their boxes.
        members: (R, M) bool, which of them the question is about.
        weights: of the losses.

    Returns:
        ``loss_presence``; ``loss_score``, ``loss_distance`` and ``loss_overlap`` of the queries of
        phrases that are there; ``loss_mask_focal`` and ``loss_mask_dice`` of matched queries;
        ``loss_semantic_focal`` of all drawn and ``loss_semantic_dice`` of those there. All are
        means over layers; 0 where there is nothing to learn from.
    """
    weights = weights or ConceptWeights()
    is_there = members.any(1)
    presence = F.binary_cross_entropy_with_logits(
        found.presence, is_there.to(found.presence).expand_as(found.presence)
    )
    per_layer = [
        _query_losses(scores, boxes, targets, members, is_there)
        for scores, boxes in zip(found.scores, found.boxes, strict=True)
    ]
    score, distance, overlap = torch.stack([each for each, _ in per_layer]).mean(0)
    rows, queries, instances = per_layer[-1][1]
    places = torch.searchsorted(found.drawn, rows)
    drawn, wanted = found.masks[places, queries], masks[rows, instances].to(found.masks)
    whole = whole_masks(masks, members)[found.drawn].to(found.semantic)
    dice = dice_loss(found.semantic, whole) * is_there[found.drawn]
    return {
        'loss_presence': weights.presence * presence,
        'loss_score': weights.score * score,
        'loss_distance': weights.distance * distance,
        'loss_overlap': weights.overlap * overlap,
        'loss_mask_focal': weights.focal * _mean(focal_loss(drawn, wanted)),
        'loss_mask_dice': weights.dice * _mean(dice_loss(drawn, wanted)),
        'loss_semantic_focal': weights.focal * focal_loss(found.semantic, whole).mean(),
        'loss_semantic_dice': weights.dice * dice.sum() / is_there.sum().clamp_min(1),
    }


def whole_masks(masks: Tensor, members: Tensor) -> Tensor:
    """All that each question is about (R, s, s) bool, of what :func:`concept_losses` takes."""
    return (masks & members[..., None, None]).any(1)


def _query_losses(
    scores: Tensor, boxes: Tensor, targets: Tensor, members: Tensor, is_there: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Score, distance and overlap losses (3,) of one layer, and the matched pairs."""
    rows, queries, instances = match_instances(scores.detach(), boxes.detach(), targets, members)
    is_matched = torch.zeros_like(scores)
    is_matched[rows, queries] = 1
    focal = sigmoid_focal_loss(scores, is_matched, alpha=-1).sum(1) * is_there
    count = max(len(rows), 1)
    own, other = boxes[rows, queries], targets[rows, instances]
    distance = (own - other).abs().sum() / count
    lost = (1 - box_overlap(own, other)).sum() / count
    return torch.stack([focal.sum() / count, distance, lost]), (rows, queries, instances)


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing."""
    return values.sum() / max(len(values), 1)
