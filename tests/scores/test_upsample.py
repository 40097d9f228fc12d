from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.images.windows import cut_windows, window_boxes
from ovseg.scores.upsample import (
    ScoreMaps,
    input_rows,
    labels_in_strips,
    output_strips,
)

SIDE = st.integers(1, 40)


def plain_resize(maps, size):
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


@given(
    grid=st.tuples(SIDE, SIDE),
    inner=st.tuples(SIDE, SIDE),
    outer=st.tuples(SIDE, SIDE),
    strip_bytes=st.integers(1, 20000),
)
@settings(max_examples=100, deadline=None)
def test_strips_of_any_size_equal_two_plain_resizes(grid, inner, outer, strip_bytes):
    maps = torch.randn(1, 3, *grid)
    scores = ScoreMaps(maps, [(0, 0, *inner)], inner)
    strips = [rows for _, _, rows in output_strips(scores, outer, strip_bytes)]
    expected = plain_resize(plain_resize(maps, inner), outer)[0]
    assert torch.allclose(torch.cat(strips, dim=1), expected, atol=1e-5)


def test_labels_do_not_depend_on_the_size_of_the_strips():
    maps = torch.randn(1, 7, 9, 11)
    scores = ScoreMaps(maps, [(0, 0, 70, 90)], (70, 90))
    decide = lambda rows: rows.argmax(1)  # noqa: E731
    whole, all_scores = labels_in_strips(
        scores, (150, 130), decide, 2**30, collect=lambda rows: rows.softmax(1)
    )
    for strip_bytes in (1, 5000, 70000):
        labels, collected = labels_in_strips(
            scores, (150, 130), decide, strip_bytes, collect=lambda rows: rows.softmax(1)
        )
        assert torch.equal(labels, whole)
        assert torch.allclose(collected, all_scores, atol=1e-6)
    assert labels_in_strips(scores, (150, 130), decide, 1)[1] is None


@pytest.mark.parametrize(
    ('size', 'crop', 'stride'),
    [
        ((70, 90), (32, 32), (16, 16)),
        ((20, 90), (32, 32), (20, 24)),
        ((33, 31), (32, 32), (32, 32)),
    ],
)
def test_windows_cover_the_image_and_average_where_they_overlap(size, crop, stride):
    boxes = window_boxes(size, crop, stride)
    shape = (boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1])
    maps = torch.randn(len(boxes), 4, 5, 6)
    total, count = torch.zeros(4, *size), torch.zeros(size)
    for window, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
        assert (y2 - y1, x2 - x1) == shape
        total[:, y1:y2, x1:x2] += plain_resize(window[None], shape)[0]
        count[y1:y2, x1:x2] += 1
    assert count.min() >= 1
    ours = input_rows(ScoreMaps(maps, boxes, size), 0, size[0])
    assert torch.allclose(ours, total / count, atol=1e-5)
    middle = input_rows(ScoreMaps(maps, boxes, size), 7, 11)
    assert torch.equal(middle, ours[:, 7:11])


def test_a_map_that_reaches_beyond_its_window_keeps_its_place():
    boxes, margins = [(0, 0, 30, 20), (0, 10, 30, 30)], (1, 1, 5, 7)
    maps = torch.randn(2, 3, 4, 4)
    total, count = torch.zeros(3, 30, 30), torch.zeros(30, 30)
    for window, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
        reaching = plain_resize(window[None], (32, 32))[0]
        total[:, y1:y2, x1:x2] += reaching[:, 1:31, 5:25]
        count[y1:y2, x1:x2] += 1
    ours = input_rows(ScoreMaps(maps, boxes, (30, 30), margins), 0, 30)
    assert torch.allclose(ours, total / count, atol=1e-6)
    whole = ScoreMaps(maps[:1], [(0, 0, 30, 20)], (30, 20), margins)
    alone = plain_resize(maps[:1], (32, 32))[0][:, 1:31, 5:25]
    assert torch.allclose(input_rows(whole, 3, 9), alone[:, 3:9], atol=1e-6)


def test_windows_lie_where_mmseg_puts_them():
    # grids = max(size - crop + stride - 1, 0) // stride + 1, shifted back inside at the border
    assert [box[1] for box in window_boxes((448, 700), (448, 448), (224, 224))] == [0, 224, 252]
    assert window_boxes((100, 50), (448, 448), (224, 224)) == [(0, 0, 100, 50)]


def test_windows_are_cut_image_by_image():
    image = torch.arange(2 * 4 * 6.0).view(2, 1, 4, 6)
    windows = cut_windows(image, [(0, 0, 4, 3), (0, 3, 4, 6)])
    assert torch.equal(windows[1], image[0, :, :, 3:]) and torch.equal(
        windows[2], image[1, :, :, :3]
    )
