from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.images.windows import cut_windows, window_boxes
from ovseg.scores.row_map import Painted, Pointwise, Resized, WindowMaps, resized

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
    scores = resized(WindowMaps(maps, [(0, 0, *inner)], inner), outer)
    strips = list(scores.strips(MemoryBudget(strip_bytes / 2**20)))
    assert strips[0][0] == 0 and strips[-1][1] == outer[0]
    expected = plain_resize(plain_resize(maps, inner), outer)[0]
    rows = torch.cat([scores.rows(*strip) for strip in strips], dim=1)
    assert torch.allclose(rows, expected, atol=1e-5)
    assert torch.allclose(scores.whole(MemoryBudget(strip_bytes / 2**20)), expected, atol=1e-5)


def test_some_channels_of_any_chain_are_those_of_all():
    maps = WindowMaps(torch.randn(1, 5, 4, 6), [(0, 0, 20, 30)], (20, 30))
    regions = torch.arange(600).view(20, 30) % 7
    chain = Resized(
        Painted(Pointwise(maps, torch.sigmoid), torch.randn(5, 7), regions, 0.3), (33, 17)
    )
    everything = chain.rows(5, 20)
    assert everything.shape == (5, 15, 17)
    assert torch.allclose(chain.rows(5, 20, slice(1, 3)), everything[1:3], atol=1e-6)
    chosen = torch.tensor([4, 0])
    assert torch.allclose(chain.rows(5, 20, chosen), everything[chosen], atol=1e-6)


def test_what_is_painted_counts_by_its_share():
    maps = WindowMaps(torch.zeros(1, 2, 3, 3), [(0, 0, 3, 3)], (3, 3))
    regions = torch.tensor([[0, 0, 1], [1, 1, 1], [0, 1, 0]])
    painted = Painted(maps, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), regions, 0.5)
    assert painted.rows(1, 3)[0].tolist() == [[1.0, 1.0, 1.0], [0.5, 1.0, 0.5]]


def test_the_largest_and_the_total_are_those_of_the_rows():
    maps = WindowMaps(torch.randn(1, 4, 6, 5), [(0, 0, 12, 10)], (12, 10))
    rows = maps.rows(2, 9)
    values, channels = maps.largest(2, 9)
    assert torch.equal(values, rows.amax(0)) and torch.equal(channels, rows.argmax(0))
    assert torch.allclose(maps.total(2, 9), rows.clamp_min(0).sum(0))


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
    ours = WindowMaps(maps, boxes, size).rows(0, size[0])
    assert torch.allclose(ours, total / count, atol=1e-5)
    middle = WindowMaps(maps, boxes, size).rows(7, 11)
    assert torch.equal(middle, ours[:, 7:11])


def test_a_map_that_reaches_beyond_its_window_keeps_its_place():
    boxes, margins = [(0, 0, 30, 20), (0, 10, 30, 30)], (1, 1, 5, 7)
    maps = torch.randn(2, 3, 4, 4)
    total, count = torch.zeros(3, 30, 30), torch.zeros(30, 30)
    for window, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
        reaching = plain_resize(window[None], (32, 32))[0]
        total[:, y1:y2, x1:x2] += reaching[:, 1:31, 5:25]
        count[y1:y2, x1:x2] += 1
    ours = WindowMaps(maps, boxes, (30, 30), margins).rows(0, 30)
    assert torch.allclose(ours, total / count, atol=1e-6)
    whole = WindowMaps(maps[:1], [(0, 0, 30, 20)], (30, 20), margins)
    alone = plain_resize(maps[:1], (32, 32))[0][:, 1:31, 5:25]
    assert torch.allclose(whole.rows(3, 9), alone[:, 3:9], atol=1e-6)


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
