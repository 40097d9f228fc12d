from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg.errors import UserError
from ovseg.evaluation import BoundaryIoUMetric, boundary_region


def plain_region(mask, width):
    """Pixels of the mask that have something else, or the outside, within a square around them."""
    padded = np.pad(mask, width)
    near = [
        padded[width + y : width + y + mask.shape[0], width + x : width + x + mask.shape[1]]
        for y in range(-width, width + 1)
        for x in range(-width, width + 1)
    ]
    return mask & ~np.logical_and.reduce(near)


@pytest.mark.parametrize('width', [1, 2, 5])
def test_a_region_is_what_lies_near_the_outline(width):
    mask = np.random.default_rng(0).random((17, 23)) > 0.05
    assert np.array_equal(boundary_region(mask, width), plain_region(mask, width))


def score(predicted, labelled, classes=2, **settings):
    metric = BoundaryIoUMetric(**settings)
    metric.dataset_meta = {'classes': [str(number) for number in range(classes)]}
    for ours, theirs in zip(predicted, labelled, strict=True):
        sample = {
            'pred_sem_seg': {'data': torch.as_tensor(ours)[None]},
            'gt_sem_seg': {'data': torch.as_tensor(theirs)[None]},
        }
        metric.process(None, [sample])
    return metric.evaluate(len(predicted))['boundary_mIoU']


def squares(shift):
    labels = np.zeros((60, 80), dtype=np.int64)
    labels[20:40, 20 + shift : 50 + shift] = 1
    return labels


def test_the_same_outline_has_100_and_a_shifted_one_less_than_its_iou():
    assert score([squares(0)], [squares(0)]) == 100
    shifted = score([squares(2)], [squares(0)])
    plain = [
        ((squares(2) == k) & (squares(0) == k)).sum()
        / ((squares(2) == k) | (squares(0) == k)).sum()
        for k in range(2)
    ]
    assert 10 < shifted < 100 * np.mean(plain)


def test_pixels_without_label_and_classes_that_nobody_has_do_not_count():
    labels = squares(0)
    labels[:, 60:] = 255
    predicted = squares(0)
    predicted[:, 62:] = 1
    assert score([predicted], [labels], classes=5) == 100


def test_images_add_up_before_the_ratio():
    pair = score([squares(2), squares(0)], [squares(0), squares(0)])
    assert score([squares(2)], [squares(0)]) < pair < 100


def test_a_width_that_is_no_share_is_refused():
    with pytest.raises(UserError, match=r'dilation must lie in \(0, 1\), got 3'):
        BoundaryIoUMetric(3)
