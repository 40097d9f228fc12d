from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.row_resize import read_resized, resize_rows

SIDE = st.integers(1, 40)


def plain_resize(maps, size):
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]


@given(h=SIDE, w=SIDE, height=SIDE, width=SIDE, data=st.data())
@settings(max_examples=100, deadline=None)
def test_rows_of_a_resize_equal_those_of_torch(h, w, height, width, data):
    start = data.draw(st.integers(0, height - 1))
    stop = data.draw(st.integers(start + 1, height))
    source = torch.randn(2, h, w)
    expected = plain_resize(source, (height, width))[:, start:stop]
    assert torch.allclose(resize_rows(source, start, stop, (height, width)), expected, atol=1e-5)


@given(sizes=st.tuples(*[st.tuples(SIDE, SIDE)] * 3), data=st.data())
@settings(max_examples=100, deadline=None)
def test_reading_through_two_resizes_asks_for_few_rows_and_equals_torch(sizes, data):
    grid, inner, outer = sizes
    start = data.draw(st.integers(0, outer[0] - 1))
    stop = data.draw(st.integers(start + 1, outer[0]))
    source = torch.randn(2, *grid)
    asked = []

    def inner_rows(first, last):
        asked.append(last - first)
        return resize_rows(source, first, last, inner)

    rows = read_resized(inner_rows, inner[0], outer, start, stop)
    expected = plain_resize(plain_resize(source, inner), outer)[:, start:stop]
    assert torch.allclose(rows, expected, atol=1e-5)
    assert asked[0] <= (stop - start - 1) * inner[0] / outer[0] + 3.001
