"""Rejection holds no map a class at full size, whatever it asks of the scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from largest_tensor import LargestTensor
from vector_worlds import VectorWorld

from ovseg.budget import MemoryBudget
from ovseg.exemplars import Rule
from ovseg.scores.decide import decide
from ovseg.scores.row_map import WindowMaps, resized
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

GRID, DIM, BUDGET = 8, 16, MemoryBudget(1)
SIZES = [(12, 256), (48, 512)]
REJECTIONS = {
    'threshold': Rejection('threshold', 0.2),
    'chain': Rejection('threshold', 0.1, margin=0.05, energy=-0.1, presence_top=5),
    'area': Rejection('threshold', 0.1, min_area=0.01),
}


def check(classifier: Classifier, side: int) -> None:
    """Labels an image, of which no tensor is larger than the budget but the labels themselves."""
    features = torch.randn(1, DIM, GRID, GRID, generator=torch.Generator().manual_seed(0))
    with LargestTensor() as seen:
        scores = classifier.row_scores(features)
        maps = WindowMaps(scores, [(0, 0, 64, 64)], (64, 64))
        found = decide(resized(maps, (side, side)), classifier.rule(), BUDGET, measure=True)
    assert found.labels.shape == (side, side)
    labels = 8 * side * side
    assert seen.largest <= max(BUDGET.bytes, labels) < 4 * classifier.num_classes * side * side


@pytest.mark.parametrize(('classes', 'side'), SIZES)
@pytest.mark.parametrize('rejection', REJECTIONS)
def test_what_is_held_stays_in_the_budget(rejection, classes, side):
    made = VectorWorld.make(classes, DIM, 0).support(2, torch.arange(classes))
    words = replace(
        made.words,
        class_index=torch.arange(classes) + 1,
        num_classes=classes + 1,
        rejection=REJECTIONS[rejection],
        background_index=0,
    )
    support = replace(made, words=words, class_index=made.class_index + 1)
    check(Rule('kindred')(support), side)
