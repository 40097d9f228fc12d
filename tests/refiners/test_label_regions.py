from __future__ import annotations

import pytest
import torch
from refinement_cases import Scores, coarse_case, plain_regions
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.refiners.label_regions import find_regions
from ovseg.scores import coarse_map as coarse_module
from ovseg.scores.coarse_map import CoarseMap, coarse_map


def coarse_of(labels, probabilities):
    return CoarseMap(
        labels,
        probabilities.gather(0, labels[None])[0],
        probabilities.amax(0),
        probabilities.amax((1, 2)),
    )


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('size', [(12, 17), (20, 9), (1, 13), (15, 1)])
@pytest.mark.parametrize(('threshold', 'min_area'), [(0.5, 4), (0.0, 0), (0.7, 1)])
def test_regions_equal_their_definition(size, seed, threshold, min_area):
    labels, scores = coarse_case(size, classes=3, seed=seed, blob=2)
    expected = plain_regions(labels, scores.probabilities, threshold, min_area)
    regions = find_regions(coarse_of(labels, scores.probabilities), threshold, min_area)
    assert regions.classes.tolist() == [label for label, *_ in expected]
    assert regions.boxes.tolist() == [box for *_, box, _ in expected]
    assert regions.points.tolist() == [point for *_, point in expected]
    for index, (_, mask, _, _) in enumerate(expected):
        assert torch.equal(regions.numbers == index + 1, mask)
    assert regions.numbers.max() == len(expected)


def test_the_first_of_equally_sure_pixels_is_the_point():
    labels = torch.zeros(4, 5, dtype=torch.int64)
    probabilities = torch.full((1, 4, 5), 0.5)
    probabilities[0, 2, 3] = probabilities[0, 3, 1] = probabilities[0, 2, 4] = 0.75
    assert find_regions(coarse_of(labels, probabilities), 0.2, 1).points.tolist() == [[3, 2]]


def test_a_rejected_pixel_is_judged_by_the_best_class_and_its_region_by_its_own():
    # Class 0 stands where class 1 is likelier, as after rejection; it never reaches 0.4 itself.
    labels = torch.zeros(2, 3, dtype=torch.int64)
    probabilities = torch.stack([torch.full((2, 3), 0.3), torch.full((2, 3), 0.7)])
    coarse = coarse_of(labels, probabilities)
    assert len(find_regions(coarse, 0.4, 1).classes) == 0
    regions = find_regions(coarse, 0.2, 1)
    assert regions.classes.tolist() == [0] and regions.boxes.tolist() == [[0, 0, 2, 1]]


@pytest.mark.parametrize('size', [(2, 2), (3, 8), (24, 31), (33, 18)])
@pytest.mark.parametrize('values', [1, 600, 1 << 23])
def test_half_size_maps_equal_torch_however_high_the_strips_are(size, values, monkeypatch):
    monkeypatch.setattr(coarse_module, 'STRIPS', MemoryBudget(4 * values / 2**20))
    labels, scores = coarse_case(size, classes=3, blob=2)
    half = (size[0] // 2, size[1] // 2)
    probabilities = F.interpolate(scores.probabilities[None], size=half, mode='bilinear')[0]
    nearest = F.interpolate(labels[None, None].double(), size=half, mode='nearest')[0, 0].long()
    coarse, expected = coarse_map(labels, scores), coarse_of(nearest, probabilities)
    assert torch.equal(coarse.labels, nearest)
    for name in ('confidence', 'largest', 'peaks'):
        assert torch.allclose(getattr(coarse, name), getattr(expected, name), atol=1e-6)


def test_no_strip_of_probabilities_is_higher_than_needed(monkeypatch):
    # Four rows of three classes, of which two lie under one at half size.
    monkeypatch.setattr(coarse_module, 'STRIPS', MemoryBudget(4 * 4 * 3 * 40 / 2**20))
    labels, scores = coarse_case((60, 40), classes=3)
    coarse_map(labels, scores)
    assert sum(scores.asked) == 60 and max(scores.asked) <= 4


def test_labels_of_many_classes_stay_exact_at_half_size():
    labels = torch.arange(3000).view(50, 60)
    one = Scores(torch.ones(3000, 50, 60))
    assert torch.equal(coarse_map(labels, one).labels, labels[::2, ::2])
