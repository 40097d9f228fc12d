"""From scores in a pixel to its label: who wins, how sure that is, and when nobody wins.

However scores came about, they are decided here alike. What a rejection rule may look at is an
:class:`Evidence`; a new rule is one more function of it in ``REJECTION_TESTS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.text.row_groups import RowGroups
from ovseg.vocabulary.rejection import Rejection

# Keeps a pixel without any probability from dividing by zero.
_TINY = 1e-12
# Temporary values of a softmax's sum, small enough for the processor's caches.
_CHUNK_VALUES = 1 << 20
# Of probabilities, and of their logarithms (proto-clip), the sum is 1 wherever a pixel lies.
NO_ENERGY = (
    'the rejection rule compares energies, which this model or rule of examples has none of: its '
    'scores are probabilities; take a threshold or a margin'
)


class Evidence:
    """What is known of the best class of each pixel; only what is asked for is computed.

    Args:
        scores: (B, C, ...), the competing scores.
        candidates: the same, -inf where a score may not win.
        groups: which class a competing score belongs to.
        scale: factor of the scores before a softmax; None where they are probabilities already,
            which are then only scaled to sum to 1, negative ones counting as 0.
        background: label of what is rejected; None without a rejection rule.
        has_energy: whether the sum of the scores' exponentials says anything; it is 1 everywhere
            where they are logarithms of probabilities.

    Attributes:
        best: (B, ...), the largest candidate.
        label: (B, ...) int64, its class; ties go to the first.
    """

    def __init__(
        self,
        scores: Tensor,
        candidates: Tensor,
        groups: RowGroups,
        scale: float | None,
        background: int | None = None,
        has_energy: bool = True,
    ) -> None:
        self._scores, self._candidates = scores, candidates
        self._groups, self._scale, self._background = groups, scale, background
        self._has_energy = has_energy
        self.best, self._winner = candidates.max(dim=1)
        self.label = groups.label_of(self._winner)

    @cached_property
    def share(self) -> Tensor:
        """(B, ...) probability of the best, float32."""
        return self.share_of(self.best)

    @cached_property
    def runner_up(self) -> Tensor:
        """(B, ...) the largest candidate of another class than the best; -inf where there is none.

        With :meth:`share_of` its probability, so that margins can be told.
        """
        count = self._candidates.shape[1]
        label_of = self._groups.label_of(torch.arange(count, device=self.label.device))
        own = label_of.view(-1, *[1] * (self.label.ndim - 1)) == self.label[:, None]
        return self._candidates.masked_fill(own, float('-inf')).amax(1)

    def share_of(self, score: Tensor) -> Tensor:
        """Probabilities (B, ...), float32, of scores (B, ...) that are among those that compete."""
        if self._scale is None:
            return DecisionRule.share_of_total(score, self._total)
        return (self._scale * (score.float() - self.best.float())).exp_() * self._inverse_total

    def share_of_class(self, label: int) -> Tensor:
        """Probability (B, ...), float32, of a class, its best row's where rows compete."""
        return self.share_of(self._scores[:, self._groups.class_rows(label)].amax(1))

    @cached_property
    def margin(self) -> Tensor:
        """(B, ...) probability of the best minus that of the best of another class, float32."""
        return self.share - self.share_of(self.runner_up)

    @property
    def has_contrast(self) -> bool:
        """Whether words stand for the background."""
        return self._background is not None and self._groups.has_rows(self._background)

    @cached_property
    def contrast(self) -> Tensor:
        """(B, ...) probability of the best minus that of the background's best word, float32.

        Raises:
            UserError: no words stand for the background.
        """
        if self._background is None or not self.has_contrast:
            raise UserError(
                'the rejection rule compares with words for "none of these", and there are none: '
                'add contrast words (--contrast auto) or a background (--background "wall, floor")'
            )
        return self.share - self.share_of_class(self._background)

    @cached_property
    def energy(self) -> Tensor:
        """(B, ...) float32, ``-log(sum(exp(scale * score))) / scale`` over all that compete.

        Raises:
            UserError: the scores are probabilities or logarithms of some, whose sum says nothing.
        """
        if self._scale is None or not self._has_energy:
            raise UserError(NO_ENERGY)
        return self._inverse_total.log() / self._scale - self.best.float()

    @cached_property
    def _total(self) -> Tensor:
        return self._scores.float().clamp_min(0).sum(1)

    @cached_property
    def _inverse_total(self) -> Tensor:
        """``1 / sum(exp(scale * (score - best)))``: a few rows at a time, no softmax is held."""
        best = self.best.float().unsqueeze(1)
        rows_at_once = max(1, _CHUNK_VALUES // max(1, best.numel()))
        total = torch.zeros_like(best[:, 0])
        for part in self._scores.split(rows_at_once, dim=1):
            total += (part.float() - best).mul_(self._scale).exp_().sum(1)
        return total.reciprocal_()


RejectionTest = Callable[[Rejection, Evidence], Tensor]


def _is_unsure(rejection: Rejection, evidence: Evidence) -> Tensor:
    return evidence.share < rejection.threshold


def _is_close(rejection: Rejection, evidence: Evidence) -> Tensor:
    return evidence.margin < rejection.margin


def _is_like_others(rejection: Rejection, evidence: Evidence) -> Tensor:
    return evidence.contrast < rejection.contrast_margin


def _is_far(rejection: Rejection, evidence: Evidence) -> Tensor:
    assert rejection.energy is not None  # asked where it is set
    return evidence.energy > rejection.energy


# Field of a Rejection -> which pixels it rejects, (B, ...) bool; asked where the field is set.
REJECTION_TESTS: dict[str, RejectionTest] = {
    'threshold': _is_unsure,
    'margin': _is_close,
    'energy': _is_far,
    'contrast_margin': _is_like_others,
}


@dataclass(frozen=True, eq=False)
class Verdict:
    """Labels, and how probable they are.

    Attributes:
        labels: (B, ...) int64.
        shares: (B, ...) float32, the probability of each pixel's own label, 0 for a background
            that has no words; None if not asked for.
        best: (B, ...), the largest score that competed; NaN where any was. None if not known.
    """

    labels: Tensor
    shares: Tensor | None = None
    best: Tensor | None = None


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """How scores of rows are decided.

    Attributes:
        groups: which rows are which class.
        logit_scale: factor of the scores before a softmax.
        rejection: rule for pixels that belong to no class.
        background_index: label of rejected pixels.
        are_probabilities: the rows went through a softmax already (key smoothing does that).
        sum_to_one: class probabilities are scaled to sum to 1; with ``max`` they otherwise sum to
            less. Labels do not depend on it.
        allowed: (K,) bool, classes that a pixel may have, the others keep their shares; None for
            all.
        has_energy: see :class:`Evidence`.
    """

    groups: RowGroups
    logit_scale: float
    rejection: Rejection
    background_index: int | None
    are_probabilities: bool = False
    sum_to_one: bool = False
    allowed: Tensor | None = None
    has_energy: bool = True

    def probabilities(self, rows: Tensor) -> Tensor:
        """Class probabilities (B, K, ...), float32, of row scores (B, P, ...).

        With ``max`` the softmax runs over all rows and a class takes its best row's share (so
        they may sum to less than 1); else it runs over the class scores. A class without rows
        gets 0, and so does one that is not allowed.

        Source: SCLIP, CLIP_Segmentor.postprocess_result (softmax of queries, maximum a class).
        """
        groups = self.groups
        scores = groups.competing(rows).float()
        if self.are_probabilities:
            shares = scores.clamp_min(0)
            shares = shares / shares.sum(1, keepdim=True).clamp_min(_TINY)
        else:
            shares = (scores * self.logit_scale).softmax(1)
        is_by_class = groups.rows_are_classes or not groups.rows_compete
        shares = shares if is_by_class else groups.best_rows(shares, empty=0.0)
        if self.allowed is not None:
            shares = shares * self.allowed.view(-1, *[1] * (shares.ndim - 2))
        if self.sum_to_one:
            shares = shares / shares.sum(1, keepdim=True).clamp_min(_TINY)
        return shares

    def best_classes(self, rows: Tensor) -> Tensor:
        """Labels (B, ...), int64, of the best classes that are allowed, none rejected.

        Args:
            rows: scores (B, P, ...).
        """
        return self.groups.label_of(self._candidates(self.groups.competing(rows)).argmax(dim=1))

    def large_classes(self, labels: Tensor) -> Tensor:
        """Which classes an image keeps under the rejection rule's ``min_area``.

        Args:
            labels: of one image, from ``best_classes``.

        Returns:
            (K,) bool; the background is always kept.

        Source: SCLIP, area rule of CLIP_Segmentor.postprocess_result.
        """
        counts = labels.flatten().bincount(minlength=self.groups.num_classes).float()
        counts[self.background_index] = 0
        large = counts > self.rejection.min_area * counts.sum()
        large[self.background_index] = True
        return large

    def present_classes(self, means: Tensor) -> Tensor:
        """Which classes an image keeps under the rejection rule's presence gate.

        The mean of an image's cosines is the cosine of its mean feature, but for a factor that
        all classes share.

        Args:
            means: (P,), the mean score of each row over the image.

        Returns:
            (K,) bool; the background is always kept.
        """
        rule = self.rejection
        scores = self.groups.class_scores(means[None])[0].clone()
        scores[self.background_index] = float('-inf')
        present = torch.ones_like(scores, dtype=torch.bool)
        if rule.presence_top:
            first = scores.sort(descending=True, stable=True).indices[: rule.presence_top]
            present = torch.zeros_like(present).index_fill_(0, first, True)
        if rule.presence_within:
            present &= scores >= scores.max() - rule.presence_within
        present[self.background_index] = True
        return present

    def rejected_by(self, rows: Tensor) -> dict[str, Tensor]:
        """Which pixels of row scores (B, P, ...) each test of the rejection rule rejects.

        Args:
            rows: scores.

        Returns:
            (B, ...) bool by the name of the field, of the tests that are in use.
        """
        return {} if self.background_index is None else self._failed(self.evidence(rows))

    def decide(self, rows: Tensor) -> Tensor:
        """Labels (B, ...), int64, of row scores (B, P, ...); see :meth:`judge`."""
        return self.judge(rows).labels

    def judge(self, rows: Tensor, with_shares: bool = False) -> Verdict:
        """Labels of row scores (B, P, ...), rejection included, and how probable they are.

        Each pixel is decided by itself, so any strip of a map gives that strip of the result.
        Ties go to the first class.

        Args:
            rows: scores, as a classifier gives them and resized at will.
            with_shares: also return shares.
        """
        evidence = self.evidence(rows)
        labels = self._without_rejected(evidence)
        if not with_shares:
            return Verdict(labels, None, evidence.best)
        if self.sum_to_one and not self.groups.rows_are_classes:
            shares = self.probabilities(rows).gather(1, labels[:, None])[:, 0]
            return Verdict(labels, shares, evidence.best)
        return Verdict(labels, self._shares(evidence, labels), evidence.best)

    @staticmethod
    def share_of_total(score: Tensor, total: Tensor) -> Tensor:
        """Probability, float32, of a score where scores are probabilities.

        Args:
            score: of any shape.
            total: sum of all scores of the pixel, negative ones counting as 0.
        """
        return score.float().clamp_min(0) / total.clamp_min(_TINY)

    def evidence(self, rows: Tensor) -> Evidence:
        """What is known of the best class of each pixel of row scores (B, P, ...).

        Args:
            rows: scores, as a classifier gives them and resized at will.
        """
        scores = self.groups.competing(rows)
        scale = None if self.are_probabilities else self.logit_scale
        candidates = self._candidates(scores)
        background, has_energy = self.background_index, self.has_energy
        return Evidence(scores, candidates, self.groups, scale, background, has_energy)

    def _candidates(self, scores: Tensor) -> Tensor:
        if self.allowed is None:
            return scores
        label_of = self.groups.label_of(torch.arange(scores.shape[1], device=scores.device))
        is_out = ~self.allowed[label_of.to(self.allowed.device)]
        return scores.masked_fill(is_out.view(-1, *[1] * (scores.ndim - 2)), float('-inf'))

    def _without_rejected(self, evidence: Evidence) -> Tensor:
        labels = evidence.label
        if self.background_index is None:
            return labels
        if self.allowed is not None:
            # Nothing that may win: all of the pixel's rows belong to classes taken out.
            labels = labels.masked_fill(evidence.best == float('-inf'), self.background_index)
        for rejected in self._failed(evidence).values():
            labels = labels.masked_fill(rejected, self.background_index)
        return labels

    def _failed(self, evidence: Evidence) -> dict[str, Tensor]:
        tests = REJECTION_TESTS.items()
        rule = self.rejection
        return {field: test(rule, evidence) for field, test in tests if rule.uses(field)}

    def _shares(self, evidence: Evidence, labels: Tensor) -> Tensor:
        if self.background_index is None:
            return evidence.share
        is_rejected = labels != evidence.label
        if self.wordless is not None:
            return evidence.share.masked_fill(is_rejected, 0.0)
        if not bool(is_rejected.any()):
            return evidence.share
        return torch.where(
            is_rejected, evidence.share_of_class(self.background_index), evidence.share
        )

    @property
    def wordless(self) -> int | None:
        """The background's label if pixels come to it by rejection only, else None."""
        index = self.background_index
        return None if index is None or self.groups.has_rows(index) else index
