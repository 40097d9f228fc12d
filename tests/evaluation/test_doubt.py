"""Counts of doubt against cases of four pixels, and against sorting all pixels."""

from __future__ import annotations

import math

import pytest
import torch

from ovseg.errors import UserError
from ovseg.evaluation.areas import Areas, confusion_matrix
from ovseg.evaluation.doubt import DOUBTS, CalibrationError, DoubtCounts
from ovseg.evaluation.none_of_these import none_scores, open_miou, similarity_of_groups
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

# Background 0 and two classes; the last pixel is of neither.
TRUTH = torch.tensor([1, 2, 2, 0])
LABEL = torch.tensor([1, 1, 2, 1])


def counts(doubt, truth=TRUTH, label=LABEL, rule='threshold', none=0):
    return DoubtCounts.of_pixels(rule, torch.tensor(doubt), label, truth, none, 255)


def test_four_pixels():
    found = counts([0.1, 0.4, 0.2, 0.3])
    assert found.counts.sum(1).tolist() == [2, 1, 1]
    assert found.auroc() == pytest.approx(2 / 3)  # two of three known pixels are doubted less
    assert found.false_alarms() == pytest.approx(1 / 3)
    # Everything below 0.3 stays: that is the best that a limit can do.
    assert 0.7 < found.limit_that_tells() < 0.8 and found.limit_that_tells() > 1 - 0.3 - 1e-3
    assert found.limit_that_keeps(1.0) == pytest.approx(0.8, abs=1e-3)
    assert found.limit_that_keeps(0.5) == pytest.approx(0.9, abs=1e-3)
    points = found.curve(3)
    assert [round(point['coverage'], 3) for point in points] == [0.333, 0.667, 1]
    assert [point['risk'] for point in points] == [0, 0, 0.5]
    assert [point['none_found'] for point in points] == [1, 1, 0]


def test_equal_doubts_count_half_and_ignored_pixels_nothing():
    assert counts([0.2] * 4).auroc() == 0.5
    found = counts([0.1, 0.4, 0.2, 0.3], truth=torch.tensor([1, 255, 2, 0]))
    assert found.auroc() == 1 and found.false_alarms() == 0
    assert math.isnan(counts([0.1] * 4, truth=torch.tensor([1, 1, 1, 1])).auroc())


def test_what_the_backgrounds_words_win_is_doubted_most():
    label = torch.tensor([1, 2, 2, 0])
    assert counts([0.1, 0.4, 0.2, 0.0], label=label).auroc() == 1


def test_parts_add_up_and_agree_with_sorting():
    generator = torch.Generator().manual_seed(0)
    doubt = torch.rand(4000, generator=generator) ** 6
    truth = (doubt + 0.3 * torch.rand(4000, generator=generator) < 0.3).long()
    label = torch.ones_like(truth)
    parts = [slice(0, 1500), slice(1500, 4000)]
    whole = DoubtCounts.empty('threshold')
    for part in parts:
        whole += DoubtCounts.of_pixels('threshold', doubt[part], label[part], truth[part], 0, 255)
    ranks = doubt.double().argsort().argsort()
    none = truth == 0
    n, m = int(none.sum()), int((~none).sum())
    wanted = (ranks[none].sum() - n * (n - 1) / 2) / (n * m)
    assert whole.auroc() == pytest.approx(float(wanted), abs=1e-4)
    limit = whole.limit_that_keeps(0.9)
    assert (doubt[truth == 1] <= 1 - limit).float().mean() == pytest.approx(0.9, abs=2e-3)


@pytest.mark.parametrize('rule', ['threshold', 'margin', 'energy'])
def test_a_fitted_limit_does_in_a_rule_what_it_did_in_the_counts(rule):
    scores = torch.randn(1, 3, 50, 60, generator=torch.Generator().manual_seed(3)) / 4
    classes = Classifier(
        torch.eye(3),
        torch.tensor([1, 2, 3]),
        4,
        8.0,
        rejection=Rejection('threshold'),
        background_index=0,
    )
    seen = classes.rule().evidence(scores)
    truth = torch.where(seen.label == 3, 0, seen.label)
    found = DoubtCounts.of_pixels(rule, DOUBTS[rule].read(seen), seen.label, truth, 0, 255)
    limit = found.limit_that_keeps(0.8)
    chain = Classifier(
        torch.eye(3),
        torch.tensor([1, 2, 3]),
        4,
        8.0,
        rejection=Rejection.build({'kind': rule, rule: limit}),
        background_index=0,
    )
    kept = (chain.rule().decide(scores) != 0)[truth != 0]
    assert kept.float().mean() == pytest.approx(0.8, abs=5e-3)


def test_limits_that_nothing_can_be_fitted_to_are_sentences():
    with pytest.raises(UserError, match="not to 'presence'"):
        DoubtCounts.empty('presence')
    with pytest.raises(UserError, match='no pixel is of no asked class'):
        counts([0.1] * 4, truth=torch.tensor([1, 1, 1, 1])).limit_that_tells()
    with pytest.raises(UserError, match='no pixel of an asked class is right'):
        DoubtCounts.empty('margin').limit_that_keeps(0.9)


def test_calibration_error_of_four_pixels():
    error = CalibrationError(bins=2)
    error.add(torch.tensor([0.5, 0.3]), torch.tensor([True, False]))
    error.add(torch.tensor([0.9, 0.7]), torch.tensor([True, True]))
    # Bins (0, 0.5] and (0.5, 1]: means 0.4 and 0.8, right 0.5 and 1.
    assert error.value() == pytest.approx((2 * 0.1 + 2 * 0.2) / 4)
    assert math.isnan(CalibrationError().value())


def test_none_and_known_scores_of_four_pixels():
    predicted = torch.tensor([1, 0, 2, 0])
    areas = Areas.of_matrix(confusion_matrix(predicted, TRUTH, 4))
    found = none_scores(areas, 0)
    # None: 1 of 2; class 1: 1 of 1; class 2: 1 of 2; class 3 is nowhere.
    assert found == pytest.approx({'none_IoU': 50, 'known_mIoU': 75, 'harmonic': 60})


def test_a_similar_class_is_half_right():
    matrix = confusion_matrix(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 1]), 3)
    areas = Areas.of_matrix(matrix)
    plain = 100 * float(areas.iou[areas.label > 0].mean())
    assert open_miou(matrix, torch.eye(3)) == pytest.approx(plain)
    alike = similarity_of_groups(('red', 'rose', 'blue'), {'reddish': ['red', 'rose']})
    # red: 1.5 right of 2, nobody else taken; rose: 1 right of 2 and half a red one too much.
    assert open_miou(matrix, alike) == pytest.approx(100 * (1.5 / 2 + 1 / 2.5) / 2)
    with pytest.raises(UserError, match="'rosy', which is no class. Did you mean 'rose'"):
        similarity_of_groups(('red', 'rose'), {'reddish': ['red', 'rosy']})
