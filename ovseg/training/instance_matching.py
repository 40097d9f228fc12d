"""One-to-one matching of predicted boxes and instances, for many questions at once."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert

# Weights of the score, of the distance of boxes and of their overlap, as in DETR's followers.
SCORE, DISTANCE, OVERLAP = 2.0, 5.0, 2.0
_SMALLEST = 1e-9


@torch.no_grad()
def match_instances(
    scores: Tensor, boxes: Tensor, targets: Tensor, members: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns which query of which question answers for which instance, at the lowest total cost.

    Args:
        scores: (R, N) logits of the queries of R questions.
        boxes: (R, N, 4), centre x, centre y, width and height in [0, 1].
        targets: (R, M, 4), boxes of instances, likewise.
        members: (R, M) bool, which of them a question is about.

    Returns:
        Questions, queries and instances (T,) int64 of the T pairs; a question with more instances
        than queries leaves some out.

    Example:
        >>> boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]])
        >>> match_instances(torch.zeros(1, 2), boxes, boxes[:, 1:], torch.tensor([[True]]))
        (tensor([0]), tensor([1]), tensor([0]))

    Source: DETR (arXiv 2005.12872), section 3.1.
    """
    own, other = boxes.float()[:, :, None], targets.float()[:, None]
    distance = (own - other).abs().sum(-1)
    cost = DISTANCE * distance - OVERLAP * box_overlap(own, other)
    cost = (cost - SCORE * scores.float().sigmoid()[..., None]).cpu()
    found: list[tuple[int, int, int]] = []
    for question, row in enumerate(members.cpu()):
        columns = row.nonzero()[:, 0]
        queries, chosen = linear_sum_assignment(cost[question][:, columns].numpy())
        found += [
            (question, int(query), int(columns[column]))
            for query, column in zip(queries, chosen, strict=True)
        ]
    index = torch.tensor(found, dtype=torch.int64, device=boxes.device).view(-1, 3)
    rows, matched, instances = index.T.contiguous()
    return rows, matched, instances


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes, in [-1, 1].

    torchvision has it for all pairs of two lists alone.

    Args:
        first: (..., 4), centre x, centre y, width and height, not below 0.
        second: (..., 4), likewise; leading sizes are broadcast.

    Example:
        >>> box_overlap(torch.tensor([0.25, 0.5, 0.5, 1]), torch.tensor([0.5, 0.5, 1.0, 1]))
        tensor(0.5000)

    Source: Generalized IoU (arXiv 1902.09630), algorithm 1.
    """
    first, second = (box_convert(boxes, 'cxcywh', 'xyxy') for boxes in (first, second))
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (first, second)]
    lower, upper = (
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    shared = (upper - lower).clamp_min(0).prod(-1)
    union = areas[0] + areas[1] - shared
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    around = hull.prod(-1).clamp_min(_SMALLEST)
    return shared / union.clamp_min(_SMALLEST) - (around - union) / around
