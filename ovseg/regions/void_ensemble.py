"""Two classifiers of the same masks put together, with a share for "no class at all".

The first one scores the classes and "void", the second one the classes alone. How much the second
counts is said for each class: more where the training of the first one never saw the class.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Added to each probability, as released, before the logarithm that a second softmax undoes.
_TINY = 1e-8


def geometric_ensemble(of_queries: Tensor, of_masks: Tensor, weight: Tensor) -> Tensor:
    """Probabilities of the classes and of void, (..., K + 1).

    Without void, ``p1^(1-a) p2^a`` scaled to sum to 1; void then takes its share of p1. Computed
    from logarithms: released code takes powers of probabilities, of which half precision makes
    zeros, and a zero there makes the whole row NaN.

    Args:
        of_queries: logits (..., K + 1) of the first classifier, void last.
        of_masks: logits (..., K) of the second one.
        weight: a, (..., K) or (K,) in [0, 1], how much the second one counts.

    Source: FC-CLIP (arXiv 2308.02487) equations 6 to 8; ``fcclip/fcclip.py`` of bytedance/fc-clip.

    Example:
        >>> geometric_ensemble(torch.tensor([0., 0, 0]), torch.tensor([9., 0]), torch.zeros(2))
        tensor([0.3333, 0.3333, 0.3333])
    """
    first = of_queries[..., :-1].float().log_softmax(-1)
    second = of_masks.float().log_softmax(-1)
    # Not 0 * -inf, where one of them has nothing to say.
    mixed = torch.where(weight < 1, (1 - weight) * first, 0.0)
    mixed = mixed + torch.where(weight > 0, weight * second, 0.0)
    void = of_queries.float().softmax(-1)[..., -1:]
    return torch.cat([mixed.softmax(-1) * (1 - void), void], dim=-1)


def class_weights(
    seen: tuple[bool, ...] | None, weight: float, unseen_weight: float | None, count: int
) -> Tensor:
    """How much the second classifier counts for each class, (K,).

    Args:
        seen: which classes the first one was trained with; None where that makes no difference.
        weight: for those.
        unseen_weight: for others.
        count: K.
    """
    if seen is None or unseen_weight is None:
        return torch.full((count,), float(weight))
    return torch.tensor([weight if known else unseen_weight for known in seen])


def released_scores(probabilities: Tensor) -> Tensor:
    """Probabilities as inference sums them up: 1e-8 added to each, and scaled to sum to 1.

    Args:
        probabilities: (..., K + 1), of :func:`geometric_ensemble`.
    """
    raised = probabilities + _TINY
    return raised / raised.sum(-1, keepdim=True)


def released_logits(probabilities: Tensor) -> Tensor:
    """Logarithms of probabilities + 1e-8, what the released code hands on as class logits.

    Args:
        probabilities: (..., K + 1), of :func:`geometric_ensemble`.
    """
    return (probabilities + _TINY).log()
