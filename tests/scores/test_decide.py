"""Score maps become labels, and labels have scores, whatever the strips are."""

from __future__ import annotations

import math

import pytest
import torch

from ovseg.budget import MemoryBudget
from ovseg.scores.decide import decide
from ovseg.scores.row_map import WindowMaps, resized
from ovseg.text import Classifier
from ovseg.text.decision_rule import REJECTION_TESTS
from ovseg.vocabulary import Rejection

WHOLE, TINY = MemoryBudget(1024), MemoryBudget(0.005)


def maps_of(channels, size=(60, 50), scale=1.0):
    generator = torch.Generator().manual_seed(channels)
    maps = scale * torch.randn(1, channels, 7, 9, generator=generator)
    return resized(WindowMaps(maps, [(0, 0, 40, 45)], (40, 45)), size)


def classifier(index, classes, aggregation='linear', rejection=None, background=None):
    return Classifier(
        weight=torch.eye(len(index)),
        class_index=torch.tensor(index),
        num_classes=classes,
        logit_scale=3.0,
        aggregation=aggregation,
        rejection=rejection or Rejection(),
        background_index=background,
    )


RULES = {
    'plain': (classifier([0, 1, 2, 3], 4), {}),
    'synonyms, best': (classifier([0, 0, 1, 2], 3, 'max'), {}),
    'synonyms, mean': (classifier([0, 0, 1, 2], 3, 'mean'), {}),
    'sum to one': (classifier([0, 0, 1, 2], 3, 'max'), {'sum_to_one': True}),
    'threshold': (
        classifier([1, 2, 3, 4], 5, rejection=Rejection('threshold', 0.6), background=0),
        {},
    ),
    'background words': (
        classifier([0, 0, 1, 2], 3, 'max', Rejection('background', 0.55, ('a', 'b')), 0),
        {},
    ),
    'small classes': (
        classifier([0, 1, 2, 3], 4, rejection=Rejection('class_zero', 0.4, (), 0.3), background=0),
        {},
    ),
    'probabilities': (classifier([0, 1, 2, 3], 4), {'are_probabilities': True}),
    'probabilities, threshold': (
        classifier([1, 2, 3, 4], 5, rejection=Rejection('threshold', 0.5), background=0),
        {'are_probabilities': True},
    ),
}


@pytest.mark.parametrize('name', RULES)
def test_strips_change_neither_labels_nor_scores(name):
    asked, options = RULES[name]
    rule, scores = asked.rule(**options), maps_of(4)
    whole = decide(scores, rule, WHOLE, measure=True, keep_scores=True)
    strips = decide(scores, rule, TINY, measure=True, keep_scores=True)
    alone = decide(scores, rule, TINY)
    assert torch.equal(whole.labels, strips.labels) and torch.equal(whole.labels, alone.labels)
    assert torch.allclose(whole.scores, strips.scores, atol=1e-6)
    assert alone.own is None and alone.scores is None
    assert len(whole.labels.unique()) > 1


@pytest.mark.parametrize('name', RULES)
def test_the_score_of_a_class_is_that_of_its_own_pixels(name):
    asked, options = RULES[name]
    rule, scores = asked.rule(**options), maps_of(4)
    kept = decide(scores, rule, WHOLE, keep_scores=True)
    wanted = kept.scores.gather(0, kept.labels[None])[0]
    # Measured on the way, afterwards off the kept scores, and afterwards off the map.
    for found in (
        decide(scores, rule, TINY, measure=True),
        kept.measured(TINY),
        decide(scores, rule, TINY).measured(TINY),
    ):
        assert torch.allclose(found.own, wanted, atol=1e-5)
        means = found.mean_scores()
        for label in range(asked.num_classes):
            is_own = kept.labels == label
            if label == rule.wordless or not is_own.any():
                assert math.isnan(means[label])
            else:
                assert float(means[label]) == pytest.approx(float(wanted[is_own].mean()), abs=1e-5)


def test_scores_can_be_made_afterwards():
    rule, scores = classifier([0, 1, 2], 3).rule(), maps_of(3)
    kept = decide(scores, rule, WHOLE, keep_scores=True)
    assert torch.allclose(decide(scores, rule, WHOLE).scored(TINY).scores, kept.scores, atol=1e-6)
    with pytest.raises(ValueError, match='was not measured; decide with measure=True'):
        kept.mean_scores()


def test_a_new_rejection_rule_is_a_function_of_the_evidence(monkeypatch):
    """A margin to the best other class: nothing of strips or maps is touched."""
    seen = []

    def is_close(rejection, evidence):
        margin = evidence.share - evidence.share_of(evidence.runner_up)
        seen.append(margin)
        return margin < 0.2

    monkeypatch.setitem(REJECTION_TESTS, 'threshold', is_close)
    asked = classifier([1, 1, 2, 3], 4, 'max', Rejection('threshold', 0.5), 0)
    scores = maps_of(4)
    decision = decide(scores, asked.rule(), TINY)
    shares = (3 * scores.rows(0, 60)).softmax(0)
    of_class = torch.stack([shares[:2].amax(0), shares[2], shares[3]])
    best = of_class.topk(2, 0).values
    wanted = torch.where(best[0] - best[1] < 0.2, 0, of_class.argmax(0) + 1)
    clear = (best[0] - best[1] - 0.2).abs() > 1e-4
    assert torch.equal(decision.labels[clear], wanted[clear])
    assert 0.1 < (wanted == 0).float().mean() < 0.9 and len(seen) > 1


def test_presence_takes_classes_out_of_an_image_in_strips_as_at_once():
    asked = classifier([1, 2, 3], 4, rejection=Rejection('presence', presence_top=2), background=0)
    scores = maps_of(3)
    decision = decide(scores, asked.rule(), TINY)
    rows = scores.rows(0, scores.size[0])
    two = rows.mean((1, 2)).topk(2).indices.sort().values
    assert torch.equal(decision.labels, two[rows[two].argmax(0)] + 1)
    assert rows.argmax(0).unique().numel() == 3
