"""Scores of soft maps against their definitions, pair by pair and threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ovseg.evaluation.soft_maps import auroc, average_precision, best_f1, region_overlap


@pytest.fixture(scope='module')
def pixels():
    rng = np.random.default_rng(0)
    labels = rng.random(60) < 0.3
    return np.round(rng.random(60) + 0.3 * labels, 1), labels  # with ties


def test_auroc_is_the_share_of_pairs_in_the_right_order(pixels):
    scores, labels = pixels
    pairs = scores[labels][:, None] - scores[~labels][None]
    assert auroc(scores, labels) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_average_precision_and_f1_go_through_every_threshold(pixels):
    scores, labels = pixels
    points = []
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        points.append((labels[chosen].mean(), labels[chosen].sum() / labels.sum()))
    recall = [0.0, *(r for _, r in points)]
    area = sum((r - before) * p for (p, r), before in zip(points, recall, strict=False))
    assert average_precision(scores, labels) == pytest.approx(area)
    assert best_f1(scores, labels) == pytest.approx(
        max(2 * p * r / (p + r) for p, r in points if r)
    )


def test_region_overlap_counts_regions_alike_whatever_their_size():
    rng = np.random.default_rng(1)
    mask = np.zeros((12, 12), bool)
    mask[1:3, 1:3] = mask[3, 3] = mask[6:11, 5:11] = True  # two: corners touch
    maps = rng.random((12, 12)) + 0.4 * mask
    numbers, count = ndimage.label(mask, structure=np.ones((3, 3)))
    assert count == 2
    false, overlap = [], []
    for threshold in np.arange(maps.min(), maps.max(), (maps.max() - maps.min()) / 200):
        above = maps > threshold
        share = above[~mask].mean()
        if share < 0.3:
            false.append(share)
            overlap.append(np.mean([above[numbers == n].mean() for n in (1, 2)]))
    false, overlap = np.array(false)[::-1], np.array(overlap)[::-1]
    false = (false - false[0]) / (false[-1] - false[0])
    area = ((overlap[1:] + overlap[:-1]) / 2 * np.diff(false)).sum()
    assert region_overlap([maps], [mask]) == pytest.approx(area)


def test_a_map_without_differences_finds_nothing():
    mask = np.eye(4, dtype=bool)
    assert region_overlap([np.ones((4, 4))], [mask]) == 0
    assert auroc(np.ones(16), mask.ravel()) == 0.5
    assert region_overlap([mask.astype(float)], [mask]) == 1
