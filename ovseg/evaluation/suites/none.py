"""The suite ``none``: classes are left out, and their pixels should be none of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.evaluation.areas import Areas, confusion_matrix
from ovseg.evaluation.doubt import DOUBTS, CalibrationError, DoubtCounts
from ovseg.evaluation.none_of_these import none_scores
from ovseg.evaluation.suites.sample import (
    EncodedSample,
    Suite,
    SuiteSettings,
    number,
    over_processes,
)
from ovseg.scores.decide import rule_of_image
from ovseg.segmentors import Segmentor
from ovseg.text import Classifier
from ovseg.text.decision_rule import REJECTION_TESTS, DecisionRule, Evidence
from ovseg.vocabulary import Rejection, Vocabulary

# Factors of the model's own scale, of which the best calibrated is chosen on the early images.
_SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


@dataclass(eq=False)
class _Round:
    """One draw of classes that are left out, and what is counted.

    Attributes:
        left_out: their names.
        classifier: of the others, with a background.
        table: (K + 1,) the label of each of the data set's in the vocabulary; the last: ignored.
        none: label of the background.
    """

    left_out: tuple[str, ...]
    classifier: Classifier
    table: Tensor
    none: int
    early: dict[str, DoubtCounts] = field(default_factory=dict)
    late: dict[str, DoubtCounts] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    errors: dict[float, CalibrationError] = field(default_factory=dict)
    error: CalibrationError = field(default_factory=CalibrationError)
    fitted_error: CalibrationError = field(default_factory=CalibrationError)
    scale: float = 1.0


class NoneSuite(Suite):
    """Leaves classes out of the vocabulary, some rounds, and looks at how their pixels are told.

    The first half of the images is what limits are fitted on, the second half is scored. Each test
    of the rejection rule is fitted by itself. Steps that move pixels after the scores were decided
    are left out, since a rejected pixel has no score of its own there.
    """

    name = 'none'

    def __init__(self, model: Segmentor, vocabulary: Vocabulary, settings: SuiteSettings) -> None:
        super().__init__(model, vocabulary, settings)
        left_out = set()
        if model.scores_are_probabilities:
            left_out.add('energy')  # there are none
        stated = vocabulary.rejection
        if not (stated.words or stated.contrast or stated.kind == 'class_zero'):
            left_out.add('contrast_margin')  # nor words to compare with
        self.rules = [rule for rule in DOUBTS if rule not in left_out]
        self._rounds = [self._round(names) for names in self._draws()]

    def _draws(self) -> Iterator[tuple[str, ...]]:
        has_background = self.vocabulary.rejection.rejects
        names = [item.name for item in self.vocabulary][1 if has_background else 0 :]
        count = self.settings.leave_out
        if not 1 <= count <= len(names) - 2:
            raise UserError(
                f'of {len(names)} classes {count} cannot be left out: two have to stay '
                '(--leave-out)'
            )
        rng = np.random.default_rng(self.settings.seed)
        for _ in range(self.rounds):
            drawn = rng.choice(len(names), count, replace=False)
            yield tuple(names[index] for index in sorted(drawn))

    def _round(self, left_out: tuple[str, ...]) -> _Round:
        full = self.vocabulary
        kept = [item for item in full.asked if item.name not in left_out]
        stated = full.rejection
        rule = replace(stated, threshold=0.0) if stated.rejects else Rejection('threshold')
        vocabulary = Vocabulary(kept, rule)
        none = vocabulary.background_index
        assert none is not None  # the rule rejects
        labels = [
            none if item.name in left_out else vocabulary.names.index(item.name) for item in full
        ]
        classifier = self.classifier(vocabulary)
        if classifier.gives_log_probabilities:  # by a rule of examples
            self.rules = [rule for rule in self.rules if rule != 'energy']
        found = _Round(left_out, classifier, torch.tensor(labels), none)
        for rule_name in self.rules:
            found.early[rule_name] = DoubtCounts.empty(rule_name)
            found.late[rule_name] = DoubtCounts.empty(rule_name)
            classes = len(vocabulary)
            found.counts[rule_name] = torch.zeros(classes, classes + 1, dtype=torch.int64)
        found.errors = {scale: CalibrationError() for scale in _SCALES}
        return found

    @override
    def add(self, sample: EncodedSample) -> None:
        for each in self._rounds:
            self._look(each, sample)

    def _look(self, each: _Round, sample: EncodedSample) -> None:
        ignored = self.settings.ignore_index
        is_ignored = sample.labels == ignored
        truth = each.table[sample.labels.masked_fill(is_ignored, 0)].masked_fill(
            is_ignored, ignored
        )
        scores = self.model.scores(sample.encoding, each.classifier, sample.size, self.model.budget)
        judge = rule_of_image(scores, self.model.rule(each.classifier), self.model.budget)
        for start, stop in scores.strips(self.model.budget):
            rows = scores.rows(start, stop)[None]
            seen = judge.evidence(rows)
            self._count(each, seen, truth[None, start:stop], sample.is_early)
            self._calibrate(each, judge, rows, seen, truth[None, start:stop], sample.is_early)

    def _count(self, each: _Round, seen: Evidence, truth: Tensor, is_early: bool) -> None:
        ignored = self.settings.ignore_index
        for rule in self.rules:
            doubt = DOUBTS[rule].read(seen)
            counts = DoubtCounts.of_pixels(rule, doubt, seen.label, truth, each.none, ignored)
            half = each.early if is_early else each.late
            half[rule] += counts
            if is_early:
                continue
            rejected = _test(rule, each.limits[rule], each.classifier.rejection, seen)
            labels = seen.label.masked_fill(rejected, each.none).cpu()
            each.counts[rule] += confusion_matrix(labels, truth, len(each.counts[rule]), ignored)

    def _calibrate(
        self,
        each: _Round,
        judge: DecisionRule,
        rows: Tensor,
        seen: Evidence,
        truth: Tensor,
        is_early: bool,
    ) -> None:
        """Probabilities of pixels of asked classes, at the model's scale and at others."""
        known = (truth != self.settings.ignore_index) & (truth != each.none)
        right = seen.label.cpu() == truth
        if not is_early:
            each.error.add(seen.share.cpu()[known], right[known])
        scales = each.errors if is_early else {each.scale: each.fitted_error}
        for factor, error in scales.items():
            if judge.are_probabilities and factor != 1:
                continue
            other = replace(judge, logit_scale=factor * judge.logit_scale).evidence(rows)
            error.add(other.share.cpu()[known], right[known])

    @override
    def halve(self) -> None:
        for each in self._rounds:
            for rule in self.rules:
                each.limits[rule] = each.early[rule].over_processes().limit_that_tells()
            values = {scale: error.value() for scale, error in each.errors.items()}
            each.scale = min((s for s in values if values[s] == values[s]), key=values.__getitem__)

    @override
    def result(self) -> dict[str, Any]:
        rows = []
        for each in self._rounds:
            for rule in self.rules:
                late = each.late[rule].over_processes()
                areas = Areas.of_matrix(over_processes(each.counts[rule]))
                scores = {
                    'auroc': 100 * late.auroc(),
                    'fpr95': 100 * late.false_alarms(),
                    **none_scores(areas, each.none),
                }
                rows.append(
                    {
                        'left_out': list(each.left_out),
                        'rule': rule,
                        'limit': each.limits[rule],
                        **{name: number(value) for name, value in scores.items()},
                        'curve': late.curve(20),
                    }
                )
        return {
            'rounds': rows,
            'mean': {rule: _means([r for r in rows if r['rule'] == rule]) for rule in self.rules},
            'ece': number(100 * _mean([each.error.value() for each in self._rounds])),
            'ece_fitted': number(100 * _mean([each.fitted_error.value() for each in self._rounds])),
            'fitted_scale_factors': [each.scale for each in self._rounds],
            'fitted_on': 'the first half of the images; the second half is scored',
            'later_steps': 'left out' if self.model.moves_pixels else 'none',
        }


def _test(rule: str, limit: float, stated: Rejection, seen: Evidence) -> Tensor:
    if rule != 'energy' and limit <= 0:  # nothing is that sure to be wrong
        return torch.zeros_like(seen.label, dtype=torch.bool)
    changed: dict[str, Any] = {rule: limit}
    return REJECTION_TESTS[rule](replace(stated, **changed), seen)


def _means(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    names = ('auroc', 'fpr95', 'none_IoU', 'known_mIoU', 'harmonic')
    return {name: number(_mean([_or_nan(row[name]) for row in rows])) for name in names}


def _or_nan(value: float | None) -> float:
    return float('nan') if value is None else value


def _mean(values: list[float]) -> float:
    """Of those that are numbers: a class that is left out may be in no image."""
    numbers = [value for value in values if value == value]
    return float(np.mean(numbers)) if numbers else float('nan')
