"""From features to labels by examples: what is held does not grow as classes x pixels do."""

from __future__ import annotations

import pytest
import torch
from live_tensors import LiveTensors
from torch.nn import functional as F
from vector_worlds import support_from

from ovseg.budget import MemoryBudget
from ovseg.exemplars import RULE_NAMES, Rule, key_strips
from ovseg.scores.decide import decide
from ovseg.scores.row_map import WindowMaps
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

DIM, EXEMPLARS, PATCH, FLOAT = 8, 20, 16, 4
SMALL, LARGE = (16, (12, 16)), (64, (24, 32))  # classes and patches, both times four
BUDGET = MemoryBudget(2)
COMBINATIONS = ('linear', 'mean', 'max', 'max_score', 'lse', 'background words')


def classifier_of(name, classes, combination, supported=2):
    """Two words a class, and exemplars of every second one beside them."""
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(2 * classes, DIM, generator=generator), dim=1)
    has_background = combination == 'background words'
    takes_best = has_background or 'max' in combination
    words = Classifier(
        rows,
        torch.arange(classes).repeat_interleave(2),
        classes,
        100.0,
        aggregation='max' if has_background else combination,
        row_weight=None if takes_best else torch.full((len(rows),), 0.5),
        rejection=Rejection('background', words=('a', 'b')) if has_background else Rejection(),
        background_index=0 if has_background else None,
    ).folded()
    if name == 'text':
        return words
    labels = torch.arange(1, classes, supported).repeat_interleave(EXEMPLARS)
    scatter = torch.randn(len(labels), DIM, generator=generator)
    vectors = F.normalize(rows[2 * labels] + 0.3 * scatter, dim=1)
    numbers = torch.arange(len(vectors))
    support = support_from(
        words, vectors, labels, numbers % EXEMPLARS, vectors, numbers, vectors.mean(0)
    )
    return Rule({'name': 'rns', 'steps': 3} if name == 'rns' else name)(support)


def features_of(grid):
    return torch.randn(1, DIM, *grid, generator=torch.Generator().manual_seed(1))


def held_by_deciding(name, combination, classes, grid):
    """Bytes beside the labels, and those of the rows' scores of patches."""
    classifier, features = classifier_of(name, classes, combination), features_of(grid)
    size = PATCH * grid[0], PATCH * grid[1]
    with torch.inference_mode(), LiveTensors() as seen:
        patches = classifier.row_scores(features)
        maps = WindowMaps(patches, [(0, 0, *size)], size)
        labels = decide(maps, classifier.rule(), BUDGET).labels
    assert labels.shape == size
    return seen.peak - labels.nbytes, patches.nbytes


@pytest.fixture(autouse=True)
def _small_strips(monkeypatch):
    monkeypatch.setattr(key_strips, 'PRODUCTS_AT_ONCE', 1 << 14)


@pytest.mark.parametrize('combination', COMBINATIONS)
@pytest.mark.parametrize('name', RULE_NAMES)
def test_deciding_keeps_to_the_budget_whatever_classes_and_pixels(name, combination):
    for classes, grid in (SMALL, LARGE):
        held, patches = held_by_deciding(name, combination, classes, grid)
        assert held <= BUDGET.bytes + patches
    # One map of all classes at the size of the labels, of which a fraction is held.
    whole = FLOAT * classes * PATCH**2 * grid[0] * grid[1]
    assert held < whole / 12


@pytest.mark.parametrize('name', ['tip', 'rns'])
def test_exemplars_meet_patches_some_at_a_time(name):
    classes, grid = LARGE
    classifier, features = classifier_of(name, classes, 'linear', supported=1), features_of(grid)
    with torch.inference_mode(), LiveTensors() as seen:
        classifier.row_scores(features)
    products = FLOAT * EXEMPLARS * (classes - 1) * grid[0] * grid[1]
    assert seen.peak < products


def test_strips_change_no_score(monkeypatch):
    features = features_of((6, 8))
    for name in ('tip', 'rns'):
        classifier = classifier_of(name, 12, 'linear')
        found = []
        for products in (1 << 22, 1 << 8):
            monkeypatch.setattr(key_strips, 'PRODUCTS_AT_ONCE', products)
            found.append(classifier.row_scores(features))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
