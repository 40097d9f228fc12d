"""Class scores of mask proposals: two classifiers against the same words, and their ensemble.

The proposal's embedding competes with the words and with one learned "no object"; CLIP's embedding
of the region, with the words alone. All tensors are small, (queries, classes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.settings import read_settings


@dataclass(frozen=True)
class EnsembleSettings:
    """How the two classifiers are put together.

    Attributes:
        enabled: False for the proposals' own classes alone; CLIP then sees no region.
        weight: w of the regions in [0, 1]. 0 does not mean without CLIP: only valid masks are
            kept then, and CLIP alone classifies them. Published 0.7 (ADE20K), 0.6 (Pascal Context)
            and 0.45 (VOC).
    """

    enabled: bool = True
    weight: float = 0.7

    def __post_init__(self) -> None:
        """Checks the weight."""
        if not 0 <= self.weight <= 1:
            raise UserError(f'ensemble.weight must lie in [0, 1], got {self.weight}')

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
    of_proposals: Tensor, of_regions: Tensor, valid: Tensor, settings: EnsembleSettings
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

    Raises:
        UserError: not one row of p2 for each valid mask.

    Source: OVSeg (arXiv 2210.04150) section 3.1; zsseg (arXiv 2112.14757) for the ensemble.
    """
    everything = torch.arange(len(of_proposals), device=of_proposals.device)
    if not settings.enabled:
        return ProposalScores(of_proposals, everything)
    queries = valid.nonzero().flatten()
    if len(of_regions) != len(queries):
        raise UserError(f'{len(queries)} valid masks need as many regions, got {len(of_regions)}')
    weight = settings.weight
    if weight == 0 and len(queries):
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
