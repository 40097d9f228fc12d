"""Deciding scores that are absolute: each phrase says for itself whether it is there.

A softmax share tells how far one class is before the others; SAM 3's scores tell, too, whether any
is there at all. So they are compared with thresholds as they are, never normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.text.decision_rule import DecisionRule, Verdict

# A class threshold that counts as none.
_NO_THRESHOLD = 1e-6


@dataclass(frozen=True)
class ConceptDecision:
    """How the threshold of a rejection rule is compared.

    Attributes:
        measure: ``'score'``: a pixel is background where its best class scores below the
            threshold t (SegEarth-OV3). ``'margin'``: where ``s1 sqrt(s1 - s2) < t^exponent``, s1
            and s2 the two best class scores (ActiveSAM; two classes at least).
        exponent: see there.
        class_thresholds: a class's own t, by name; a pixel whose class scores below it is
            background, too (ConceptBank). Values up to 1e-6 mean none.

    Raises:
        UserError: an unknown measure, or a number out of range.

    Source: ActiveSAM (arXiv 2606.16996), margin-aware background, exponent of its release.
    """

    measure: Literal['score', 'margin'] = 'score'
    exponent: float = 1.25
    class_thresholds: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.measure not in ('score', 'margin'):
            raise UserError(f"decision.measure must be 'score' or 'margin', got {self.measure!r}")
        if not self.exponent > 0:
            raise UserError(f'decision.exponent must be above 0, got {self.exponent!r}')

    def thresholds(self, names: tuple[str, ...], like: Tensor) -> Tensor | None:
        """Thresholds (K,) of classes, or None without any.

        Args:
            names: of the classes; unknown names in the settings are passed over.
            like: gives the device.
        """
        if not self.class_thresholds:
            return None
        found = [self.class_thresholds.get(name, 0.0) for name in names]
        return torch.tensor(found, device=like.device)


@dataclass(frozen=True, eq=False)
class ConceptRule(DecisionRule):
    """Decides absolute scores: the best class, or the background where it is not sure enough.

    Attributes:
        decision: how the threshold is compared.
        class_thresholds: (K,) or None, see :class:`ConceptDecision`.
    """

    decision: ConceptDecision = ConceptDecision()
    class_thresholds: Tensor | None = None

    @override
    def probabilities(self, rows: Tensor) -> Tensor:
        """Class scores (B, K, ...), float32, as they are: not shares, and no sum of 1."""
        scores = self._class_scores(rows).clamp_min(0)
        if self.sum_to_one:
            scores = scores / scores.sum(1, keepdim=True).clamp_min(1e-12)
        return scores

    @override
    def best_classes(self, rows: Tensor) -> Tensor:
        return self._class_scores(rows).argmax(1)

    @override
    def judge(self, rows: Tensor, with_shares: bool = False) -> Verdict:
        scores = self._class_scores(rows)
        best, labels = scores.max(1)
        if self.background_index is not None:
            if self.allowed is not None:
                labels = labels.masked_fill(best == float('-inf'), self.background_index)
            for rejected in self._tests(scores).values():
                labels = labels.masked_fill(rejected, self.background_index)
        if not with_shares:
            return Verdict(labels, None, best)
        shares = self.probabilities(rows).gather(1, labels[:, None])[:, 0]
        return Verdict(labels, shares, best)

    @override
    def rejected_by(self, rows: Tensor) -> dict[str, Tensor]:
        return {} if self.background_index is None else self._tests(self._class_scores(rows))

    def _class_scores(self, rows: Tensor) -> Tensor:
        scores = self.groups.class_scores(rows).float()
        if self.allowed is None:
            return scores
        is_out = ~self.allowed.to(scores.device)
        return scores.masked_fill(is_out.view(-1, *[1] * (scores.ndim - 2)), float('-inf'))

    def _tests(self, scores: Tensor) -> dict[str, Tensor]:
        """Which pixels (B, ...) of class scores (B, K, ...) each test in use rejects."""
        found: dict[str, Tensor] = {}
        best, labels = scores.max(1)
        first = best.clamp_min(0)
        second = torch.zeros_like(first)
        if scores.shape[1] > 1:
            second = scores.topk(2, dim=1).values[:, 1].clamp_min(0)
        threshold = self.rejection.threshold
        if threshold > 0 and self.decision.measure == 'score':
            found['threshold'] = best < threshold
        elif threshold > 0 and scores.shape[1] > 1:
            limit = threshold**self.decision.exponent
            found['threshold'] = margin_energy(first, second) < limit
        if self.rejection.margin > 0:
            found['margin'] = first - second < self.rejection.margin
        if self.rejection.contrast_margin > 0 and self.background_index is not None:
            of_words = scores[:, self.background_index].clamp_min(0)
            found['contrast_margin'] = first - of_words < self.rejection.contrast_margin
        if self.class_thresholds is not None:
            own = self.class_thresholds[labels]
            found['class_thresholds'] = (own > _NO_THRESHOLD) & (best < own)
        return found


def margin_energy(best: Tensor, second: Tensor) -> Tensor:
    """``s1 sqrt(s1 - s2)``: how sure a pixel is, and how far before the next class.

    Args:
        best: s1, at least 0, of any shape.
        second: s2, of the same.

    Example:
        >>> margin_energy(torch.tensor([0.5]), torch.tensor([0.25]))
        tensor([0.2500])
    """
    return best * (best - second).clamp_min(0).sqrt()
