from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_label_maps import naive_matrix, random_maps

from ovseg.evaluation import Areas, confusion_matrix, count_areas, summarise


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(1, 12), height=st.integers(1, 8))
def test_matrix_and_histograms_equal_counting_by_hand(seed, num_classes, height):
    prediction, label = random_maps(seed, num_classes, 255, (height, 5))
    expected = naive_matrix(prediction, label, num_classes, 255)
    matrix = confusion_matrix(prediction, label, num_classes)
    assert matrix.dtype == torch.int64
    np.testing.assert_array_equal(matrix.numpy(), expected)
    areas, histograms = Areas.of_matrix(matrix), count_areas(prediction, label, num_classes)
    for by_matrix, by_histogram in zip(
        (areas.intersection, areas.prediction, areas.label), histograms, strict=True
    ):
        assert torch.equal(by_matrix, by_histogram)


def test_labels_beyond_255_and_65535_ignored():
    label = torch.tensor([[300, 846, 65535, 255]])
    prediction = torch.tensor([[300, 0, 5, 255]])
    areas = Areas.of_matrix(confusion_matrix(prediction, label, 847, 65535))
    assert areas.intersection.nonzero().flatten().tolist() == [255, 300]
    assert areas.label.nonzero().flatten().tolist() == [255, 300, 846]
    assert areas.prediction[5] == 0


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32])
def test_small_integer_types_do_not_overflow(dtype):
    label = torch.full((4, 4), 100, dtype=dtype)
    matrix = confusion_matrix(label.long(), label, 101)
    assert matrix[100, 100] == 16 and matrix.sum() == 16


def test_prediction_outside_the_classes_is_an_error_of_its_label():
    prediction, label = torch.tensor([-1, 3, 9, 1]), torch.tensor([1, 1, 1, 1])
    matrix = confusion_matrix(prediction, label, 3)
    assert matrix[1].tolist() == [0, 1, 0, 3]
    scores = summarise(Areas.of_matrix(matrix))
    assert scores['aAcc'] == 25 and scores['mAcc'] == 25 and scores['mIoU'] == 25


def test_label_that_is_no_class_stops():
    with pytest.raises(ValueError, match='2 pixels have a label that is no class, the first 7'):
        confusion_matrix(torch.zeros(3).long(), torch.tensor([7, 0, 7]), 3)
    with pytest.raises(ValueError, match='the first -1'):
        count_areas(torch.zeros(1).long(), torch.tensor([-1]), 3)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r'prediction is \(2, 3\) but the label \(3, 2\)'):
        confusion_matrix(torch.zeros(2, 3).long(), torch.zeros(3, 2).long(), 2)


def test_means_over_all_and_over_present_classes_differ():
    # Class 2 is predicted but nowhere labelled, class 3 is neither.
    label, prediction = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 1, 0])
    scores = summarise(Areas.of_matrix(confusion_matrix(prediction, label, 4)))
    assert scores['mIoU'] == pytest.approx(100 * (1 / 3 + 1 / 2 + 0) / 3)
    assert scores['mIoU_present'] == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)
    assert scores['aAcc'] == scores['mAcc'] == 50
    assert scores['zero_iou_share'] == 0


def test_share_of_classes_at_zero_counts_labelled_classes():
    label, prediction = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 3, 3])
    scores = summarise(Areas.of_matrix(confusion_matrix(prediction, label, 5)))
    assert scores['zero_iou_share'] == pytest.approx(200 / 3)


def test_nothing_counted_gives_nan():
    label = torch.full((3,), 255)
    scores = summarise(Areas.of_matrix(confusion_matrix(label, label, 4)))
    assert all(math.isnan(value) for value in scores.values())
