"""The one place where a score map becomes labels, in strips within a memory budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.scores.row_map import ALL, Channels, RowMap
from ovseg.text.decision_rule import DecisionRule


@dataclass(frozen=True, eq=False)
class ClassShares(RowMap):
    """Class probabilities (K maps) of row scores.

    Attributes:
        source: P maps of row scores.
        rule: whose probabilities are meant.
    """

    source: RowMap
    rule: DecisionRule

    @property
    @override
    def size(self) -> tuple[int, int]:
        return self.source.size

    @property
    @override
    def channels(self) -> int:
        return self.rule.groups.num_classes

    @property
    @override
    def like(self) -> Tensor:
        return self.source.like.new_empty(0, dtype=torch.float32)

    @property
    @override
    def values_a_row(self) -> float:
        return self.source.values_a_row + self.channels * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        return self.rule.probabilities(self.source.rows(start, stop)[None])[0, channels]


@dataclass(frozen=True, eq=False)
class Decision:
    """The labels of an image, and what they were decided by.

    Attributes:
        labels: (H, W) int64.
        shares: class probabilities, (K maps of H x W), read by rows.
        own: (H, W) float32, the probability of each pixel's own label, as in `scores`; None if
            not measured.
        scores: (K, H, W) float32, all of `shares`; None if not asked for. Their memory grows with
            the classes.
        wordless: label of a background that has no words and so no probability, or None.
    """

    labels: Tensor
    shares: RowMap
    own: Tensor | None = None
    scores: Tensor | None = None
    wordless: int | None = None

    def mean_scores(self) -> Tensor:
        """(K,) float64, mean probability of each class over its own pixels.

        NaN for classes without pixels and for a background without words.

        Raises:
            ValueError: the decision was not measured.
        """
        if self.own is None:
            raise ValueError('this decision was not measured; decide with measure=True')
        sums, counts = class_sums(self.labels, self.own, self.shares.channels)
        means = sums / counts
        if self.wordless is not None:
            means[self.wordless] = float('nan')
        return means

    def measured(self, budget: MemoryBudget) -> Decision:
        """The same with :attr:`own`, read off :attr:`scores` or, in strips, off :attr:`shares`."""
        if self.own is not None:
            return self
        own = torch.empty(self.labels.shape, device=self.labels.device)
        for start, stop in self.shares.strips(budget):
            rows = self._score_rows(start, stop)
            own[start:stop] = rows.gather(0, self.labels[None, start:stop])[0]
        return replace(self, own=own)

    def scored(self, budget: MemoryBudget) -> Decision:
        """The same with :attr:`scores`."""
        return self if self.scores is not None else replace(self, scores=self.shares.whole(budget))

    def _score_rows(self, start: int, stop: int) -> Tensor:
        if self.scores is not None:
            return self.scores[:, start:stop]
        return self.shares.rows(start, stop)


def class_sums(labels: Tensor, own: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """What the pixels of each class sum up to.

    Args:
        labels: int64, of any shape.
        own: of the same shape, a value of each pixel.
        classes: K.

    Returns:
        (K,) float64 sums of the values, and (K,) int64 numbers of pixels.
    """
    labels = labels.flatten()
    sums = torch.zeros(classes, dtype=torch.float64, device=labels.device)
    sums.index_add_(0, labels, own.flatten().double())
    return sums, torch.bincount(labels, minlength=classes)


def decide(
    scores: RowMap,
    rule: DecisionRule,
    budget: MemoryBudget,
    measure: bool = False,
    keep_scores: bool = False,
) -> Decision:
    """Labels of a score map.

    Args:
        scores: P maps, one a row of the classifier.
        rule: decides.
        budget: what strips and their temporaries may take.
        measure: also give each pixel the probability of its label.
        keep_scores: also keep all class probabilities.
    """
    rule = rule_of_image(scores, rule, budget)
    if not keep_scores and _takes_the_largest(rule):
        return _by_the_largest(scores, rule, budget, measure)
    labels = torch.empty(scores.size, dtype=torch.int64, device=scores.like.device)
    own = torch.empty(scores.size, device=labels.device) if measure else None
    kept: Tensor | None = None
    if keep_scores:
        kept = torch.empty(rule.groups.num_classes, *scores.size, device=labels.device)
    for start, stop in scores.strips(budget):
        rows = scores.rows(start, stop)[None]
        verdict = rule.judge(rows, with_shares=measure)
        assert verdict.best is not None  # of `judge`
        check_scores(verdict.best)
        labels[start:stop] = verdict.labels[0]
        if own is not None and verdict.shares is not None:
            own[start:stop] = verdict.shares[0]
        if kept is not None:
            kept[:, start:stop] = rule.probabilities(rows)[0]
    return Decision(labels, ClassShares(scores, rule), own, kept, rule.wordless)


def rule_of_image(scores: RowMap, rule: DecisionRule, budget: MemoryBudget) -> DecisionRule:
    """The rule with the classes that its rejection takes out of this image not allowed.

    Args:
        scores: P maps, one a row of the classifier.
        rule: of all images.
        budget: what strips and their temporaries may take.
    """
    rejection = rule.rejection
    if rejection.presence_top or rejection.presence_within:
        sums = torch.zeros(scores.channels, dtype=torch.float64, device=scores.like.device)
        for start, stop in scores.strips(budget):
            sums += scores.rows(start, stop).double().sum((1, 2))
        check_scores(sums)
        means = sums / (scores.size[0] * scores.size[1])
        rule = replace(rule, allowed=rule.present_classes(means.float()))
    if rejection.min_area > 0:
        best = torch.empty(scores.size, dtype=torch.int64, device=scores.like.device)
        for start, stop in scores.strips(budget):
            best[start:stop] = rule.best_classes(scores.rows(start, stop)[None])[0]
        large = rule.large_classes(best)
        allowed = large if rule.allowed is None else large & rule.allowed
        rule = replace(rule, allowed=allowed)
    return rule


def check_scores(best: Tensor) -> None:
    """Stops at scores that are not numbers, which would be labels of class 0.

    Args:
        best: the largest scores, which are NaN where any was.

    Raises:
        UserError: one is NaN.
    """
    if bool(best.isnan().any()):
        raise UserError(
            'the scores are not numbers: weights of the model hold NaN or infinity, or are too '
            'large for their precision; load an intact file'
        )


def _takes_the_largest(rule: DecisionRule) -> bool:
    """Whether the largest score and the sum of all are all that a pixel's decision needs."""
    return rule.are_probabilities and rule.groups.rows_are_classes and not rule.rejection.rejects


def _by_the_largest(
    scores: RowMap, rule: DecisionRule, budget: MemoryBudget, measure: bool
) -> Decision:
    """Lets the map find the largest by itself: many classes then need not exist at once."""
    labels = torch.empty(scores.size, dtype=torch.int64, device=scores.like.device)
    own = torch.empty(scores.size, device=labels.device) if measure else None
    for start, stop in scores.strips_of_largest(budget):
        values, labels[start:stop] = scores.largest(start, stop)
        check_scores(values)
        if own is not None:
            own[start:stop] = rule.share_of_total(values, scores.total(start, stop))
    return Decision(labels, ClassShares(scores, rule), own)
