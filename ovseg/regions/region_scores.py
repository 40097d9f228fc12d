"""Class scores of mask proposals: two classifiers against the same words, and their ensemble.

The proposal's embedding competes with the words and with one learned "no object"; CLIP's embedding
of the region, with the words alone. All tensors are small, (queries, classes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.settings import read_settings
from ovseg.vocabulary import Vocabulary, build_vocabulary


@dataclass(frozen=True)
class EnsembleSettings:
    """How the two classifiers are put together.

    Attributes:
        enabled: False for the proposals' own classes alone; CLIP then sees no region.
        weight: w of the regions in [0, 1]. 0 does not mean without CLIP: only valid masks are
            kept then, and CLIP alone classifies them. Published 0.7 (ADE20K), 0.6 (Pascal Context)
            and 0.45 (VOC).
        unseen_weight: w for classes that the proposals' training did not have; None for the same.
            FC-CLIP publishes 0.4 for seen classes and 0.8 for others.
        seen: the words of that training, anything that a vocabulary is made of; needed with
            `unseen_weight`.
    """

    enabled: bool = True
    weight: float = 0.7
    unseen_weight: float | None = None
    seen: Any = None

    def __post_init__(self) -> None:
        """Checks the weights."""
        for name in ('weight', 'unseen_weight'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f'ensemble.{name} must lie in [0, 1], got {value}')
        if (self.unseen_weight is None) != (self.seen is None):
            raise UserError(
                'ensemble.unseen_weight and ensemble.seen (the words of the training) go together; '
                'give both or none'
            )

    @cached_property
    def seen_words(self) -> frozenset[str]:
        """Every word of the training."""
        vocabulary = build_vocabulary(self.seen)
        return (
            frozenset()
            if vocabulary is None
            else frozenset(word for item in vocabulary for word in item.prompts)
        )

    def knows(self, vocabulary: Vocabulary) -> tuple[bool, ...] | None:
        """Which classes share a word with the training; None where it makes no difference.

        Args:
            vocabulary: the classes.
        """
        if self.unseen_weight is None:
            return None
        return tuple(not self.seen_words.isdisjoint(item.prompts) for item in vocabulary)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> EnsembleSettings:
        """Returns the settings that a config names.

        Args:
            config: fields by name, or None for the defaults.

        Raises:
            UserError: unknown field, or a weight out of range.
        """
        return read_settings(cls, config, 'ensemble')


@dataclass(frozen=True)
class ProposalScores:
    """What an image's masks say of the classes.

    Attributes:
        scores: (M, K), not normalised.
        queries: (M,) int64, ascending, the proposals that count.
    """

    scores: Tensor
    queries: Tensor


def proposal_probabilities(logits: Tensor) -> Tensor:
    """p1 (..., K): "no object" takes its share, and is dropped.

    Args:
        logits: (..., K + 1), "no object" last.
    """
    return logits.softmax(-1)[..., :-1]


def region_probabilities(logits: Tensor, num_classes: int) -> Tensor:
    """p2 (..., K): "no object" is dropped before the softmax.

    Args:
        logits: (..., K) or (..., K + 1), "no object" last.
        num_classes: K.
    """
    return logits[..., :num_classes].softmax(-1)


def fuse(
    of_proposals: Tensor,
    of_regions: Tensor,
    valid: Tensor,
    settings: EnsembleSettings,
    is_seen: Tensor | None = None,
) -> ProposalScores:
    """The scores ``p1^(1-w) p2^w`` of both classifiers.

    Invalid masks have no region; their p2 is 1 for every class, which raises them above valid ones,
    but the masks themselves stay below the threshold. That is published, and so is the other
    meaning of w = 0, see :class:`EnsembleSettings`. Where no mask is valid, all of them count by
    ``p1^(1-w)``, with w = 0, too (the released code then stops with an error).

    Args:
        of_proposals: p1 (Q, K).
        of_regions: p2 (N, K), for the valid masks; not read where the ensemble is off.
        valid: (Q,) bool.
        settings: see :class:`EnsembleSettings`.
        is_seen: (K,) bool, classes that the proposals' training had; None where that makes no
            difference.

    Raises:
        UserError: not one row of p2 for each valid mask.

    Source: OVSeg (arXiv 2210.04150) section 3.1; zsseg (arXiv 2112.14757) for the ensemble; FC-CLIP
    (arXiv 2308.02487) equation 7 for weights of seen and unseen classes.
    """
    everything = torch.arange(len(of_proposals), device=of_proposals.device)
    if not settings.enabled:
        return ProposalScores(of_proposals, everything)
    queries = valid.nonzero().flatten()
    if len(of_regions) != len(queries):
        raise UserError(f'{len(queries)} valid masks need as many regions, got {len(of_regions)}')
    weight: float | Tensor = settings.weight
    if is_seen is not None and settings.unseen_weight is not None:
        weights = of_proposals.new_tensor([settings.unseen_weight, settings.weight])
        weight = weights[is_seen.long()]
    elif settings.weight == 0 and len(queries):
        return ProposalScores(of_regions, queries)
    whole = torch.ones_like(of_proposals)
    whole[queries] = of_regions.to(whole.dtype)
    return ProposalScores(of_proposals ** (1 - weight) * whole**weight, everything)


def one_mask_a_class(scores: Tensor, picking: int | None = None) -> Tensor:
    """Scores of the masks that are the best of some class, zero for all others, (M, K).

    With binary masks this is how OVSeg's demo shows what was asked for: pixels outside of the
    picked masks stay without a score.

    Args:
        scores: (M, K).
        picking: how many of the first classes pick a mask; None for all. The demo adds "others" to
            a single class, and it picks none.

    Example:
        >>> one_mask_a_class(torch.tensor([[.9, .1], [.8, .7], [.1, .6]]), 1)
        tensor([[0.9000, 0.1000],
                [0.0000, 0.0000],
                [0.0000, 0.0000]])
    """
    picked = F.one_hot(scores.argmax(0)[:picking], len(scores)).any(0)
    return scores * picked[:, None]
