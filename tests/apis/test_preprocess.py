"""The resize rule of test pipelines, applied to any image."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from ovseg.apis.preprocess import ResizeRule
from ovseg.errors import UserError


@given(height=st.integers(40, 3000), width=st.integers(40, 3000))
def test_sizes_are_those_of_the_test_pipeline(height, width):
    new_width, new_height = mmcv.rescale_size((width, height), (2048, 512))
    if min(new_width, new_height) >= 32:
        assert ResizeRule((2048, 512)).size_for((height, width)) == (new_height, new_width)


def test_pixels_are_those_of_the_test_pipeline():
    image = np.random.default_rng(0).integers(0, 256, (60, 91, 3), dtype=np.uint8)
    expected = mmcv.imrescale(image, (300, 128))
    assert (ResizeRule((300, 128)).apply(image) == expected).all()


@given(height=st.integers(1, 20000), width=st.integers(1, 20000))
def test_no_side_vanishes_and_none_exceeds_the_scale(height, width):
    sides = ResizeRule((2048, 512)).size_for((height, width))
    assert min(sides) >= 32
    assert max(sides) <= 2048


def test_without_ratio_the_scale_is_width_and_height():
    assert ResizeRule((300, 200), keep_ratio=False).size_for((77, 50)) == (200, 300)


def test_without_a_rule_the_image_keeps_its_size():
    image = np.zeros((50, 70, 3), np.uint8)
    assert ResizeRule.from_config(Config({})).apply(image) is image


def test_configs_of_a_data_set_give_the_rule_of_their_test_pipeline():
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': (520, 520)}]
    rule = ResizeRule.from_config(Config({'test_pipeline': pipeline}))
    assert rule.scale == (520, 520)


@pytest.mark.parametrize('scale', [None, 512, (512,), (0, 512)])
def test_a_scale_that_is_no_pair_of_lengths_is_named(scale):
    with pytest.raises(UserError, match=r'inference\.scale'):
        ResizeRule.from_config(Config({'inference': {'scale': scale}}))
