from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.images.windows import window_boxes
from ovseg.refiners import PAMR
from ovseg.scores import pixel_stage
from ovseg.scores.pixel_stage import PixelStage, refined_strips, rows_per_band
from ovseg.scores.upsample import ScoreMaps, output_rows


def plain(scores, stage, size):
    """Everything at full size at once."""
    image = F.interpolate(stage.image[None], size=size, mode='bilinear')[0]
    full = output_rows(scores, size, 0, size[0])
    return stage.refiner(full, stage.refiner.prepare(image))


def joined(strips, size):
    starts = [(start, stop) for start, stop, _ in strips]
    assert starts[0][0] == 0 and starts[-1][1] == size[0]
    assert all(before[1] == after[0] for before, after in zip(starts, starts[1:], strict=False))
    return torch.cat([rows for _, _, rows in strips], dim=1)


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
    scores = ScoreMaps(torch.randn(len(boxes), prompts, 4, 4), boxes, (24, 20))
    stage = PixelStage(PAMR(steps, dilations), torch.randn(3, 24, 20))
    size = (rows, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pixel_stage._VALUES_AT_ONCE, 'cpu', at_once)
        strips = list(refined_strips(scores, stage, size, strip_bytes))
    assert torch.allclose(joined(strips, size), plain(scores, stage, size), atol=1e-5)


def test_a_band_needs_nothing_beside_it_where_the_image_fits():
    assert rows_per_band((500, 400), 21, PAMR(), 64e6, 'cpu') == 500
    # Little memory: bands of one row, never none; more memory, fewer bands of equal height.
    assert rows_per_band((500, 400), 21, PAMR(), 1, 'cpu') == 1
    assert rows_per_band((500, 400), 171, PAMR(), 64e6, 'cpu') == 250


def test_the_image_is_resized_to_the_output_as_the_scores_are():
    scores = ScoreMaps(torch.randn(1, 2, 5, 5), [(0, 0, 40, 40)], (40, 40))
    stage = PixelStage(PAMR(1, (1,)), torch.randn(3, 40, 40))
    seen = []

    class Spy(PAMR):
        def prepare(self, image):
            seen.append(image)
            return super().prepare(image)

    spied = PixelStage(Spy(1, (1,)), stage.image)
    list(refined_strips(scores, spied, (25, 31), 1 << 30))
    expected = F.interpolate(stage.image[None], size=(25, 31), mode='bilinear')[0]
    assert torch.allclose(seen[0], expected, atol=1e-6)
