from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.images.windows import window_boxes
from ovseg.refiners import PAMR
from ovseg.scores import pixel_refiner
from ovseg.scores.pixel_refiner import RefinedPixels, rows_per_band
from ovseg.scores.row_map import WindowMaps, resized


def plain(scores, refiner, image):
    """Everything at full size at once."""
    image = F.interpolate(image[None], size=scores.size, mode='bilinear')[0]
    return refiner(scores.rows(0, scores.size[0]), refiner.prepare(image))


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 30),
    prompts=st.integers(1, 5),
    strip_bytes=st.integers(1, 60000),
    at_once=st.integers(1, 4000),
    steps=st.integers(1, 3),
    dilations=st.sampled_from([(1,), (2, 4), (3,)]),
)
@settings(max_examples=60, deadline=None)
def test_bands_of_any_height_equal_the_plain_computation(
    rows, columns, prompts, strip_bytes, at_once, steps, dilations
):
    torch.manual_seed(0)
    boxes = window_boxes((24, 20), (16, 16), (8, 8))
    maps = WindowMaps(torch.randn(len(boxes), prompts, 4, 4), boxes, (24, 20))
    scores = resized(maps, (rows, columns))
    refiner, image = PAMR(steps, dilations), torch.randn(3, 24, 20)
    budget = MemoryBudget(strip_bytes / 2**20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pixel_refiner._VALUES_AT_ONCE, 'cpu', at_once)
        refined = RefinedPixels(scores, refiner, image, budget)
        strips = [refined.rows(*strip) for strip in refined.strips(budget)]
    assert torch.allclose(torch.cat(strips, dim=1), plain(scores, refiner, image), atol=1e-5)


def test_rows_may_lie_in_several_bands_and_each_band_is_made_once():
    scores = WindowMaps(torch.randn(1, 2, 5, 5), [(0, 0, 30, 20)], (30, 20))
    made = []

    class Spy(PAMR):
        def prepare(self, image):
            made.append(image.shape[1])
            return super().prepare(image)

    image = torch.randn(3, 30, 20)
    refined = RefinedPixels(scores, Spy(1, (2,)), image, MemoryBudget(1e-6))
    refined._band_height = 7
    rows = torch.cat([refined.rows(start, min(start + 4, 30)) for start in range(0, 30, 4)], 1)
    assert torch.allclose(rows, plain(scores, PAMR(1, (2,)), image), atol=1e-5)
    assert len(made) == 5


def test_a_band_needs_nothing_beside_it_where_the_image_fits():
    assert rows_per_band((500, 400), 21, PAMR(), 64e6, 'cpu') == 500
    # Little memory: bands of one row, never none; more memory, fewer bands of equal height.
    assert rows_per_band((500, 400), 21, PAMR(), 1, 'cpu') == 1
    assert rows_per_band((500, 400), 171, PAMR(), 64e6, 'cpu') == 250


def test_the_image_is_resized_to_the_output_as_the_scores_are():
    maps = WindowMaps(torch.randn(1, 2, 5, 5), [(0, 0, 40, 40)], (40, 40))
    image = torch.randn(3, 40, 40)
    seen = []

    class Spy(PAMR):
        def prepare(self, image):
            seen.append(image)
            return super().prepare(image)

    scores = resized(maps, (25, 31))
    RefinedPixels(scores, Spy(1, (1,)), image, MemoryBudget(1024)).rows(0, 25)
    expected = F.interpolate(image[None], size=(25, 31), mode='bilinear')[0]
    assert torch.allclose(seen[0], expected, atol=1e-6)
