"""The resize rule of test pipelines, applied to any image."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovseg.errors import UserError
from ovseg.images import ResizeByRule, ResizeRule, resize_step


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


@given(height=st.integers(40, 6000), width=st.integers(40, 6000))
def test_rounded_down_the_longer_side_is_the_whole_part_of_the_proportion(height, width):
    rule = ResizeRule((10**6, 448), rounding='down')
    short, long = sorted((height, width))
    assert sorted(rule.size_for((height, width))) == [448, int(448 * long / short)]


def test_a_bicubic_rule_gives_the_pixels_of_pillow():
    image = np.random.default_rng(0).integers(0, 256, (60, 91, 3), dtype=np.uint8)
    rule = ResizeRule((999, 48), antialias=True, interpolation='bicubic', rounding='down')
    expected = Image.fromarray(image).resize((72, 48), Image.Resampling.BICUBIC)
    assert (rule.apply(image) == np.asarray(expected)).all()
    step = resize_step(rule.settings)
    assert step.pop('type') == 'ResizeByRule' and ResizeByRule(**step).rule == rule


def test_without_ratio_the_scale_is_width_and_height():
    assert ResizeRule((300, 200), keep_ratio=False).size_for((77, 50)) == (200, 300)


def test_without_a_rule_the_image_keeps_its_size():
    image = np.zeros((1, 70, 3), np.uint8)
    assert ResizeRule.from_settings(None).apply(image) is image


@pytest.mark.parametrize('scale', [None, 512, (512,), (0, 512), '512'])
def test_a_scale_that_is_no_pair_of_lengths_is_named(scale):
    with pytest.raises(UserError, match=r'inference\.scale must be two lengths'):
        ResizeRule.from_settings({'scale': scale}, 'inference')


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'type': 'Rotate', 'scale': (9, 9)}, r"resize\.type must be .* but is 'Rotate'"),
        ({'scale': (9, 9), 'backend': 'cv2'}, "no 'backend': leave it out"),
        ({'scale': (9, 9), 'interpolation': 'area'}, "bilinear, bicubic, but is 'area'"),
        ({'scale': (9, 9), 'rounding': 'up'}, "nearest, down, but is 'up'"),
    ],
)
def test_settings_that_are_no_rule_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        ResizeRule.from_settings(settings)


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('size', [(60, 91), (3, 200), (144, 144)])
def test_the_step_of_a_pipeline_gives_the_pixels_of_the_rule(size, antialias):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    settings = {'scale': [288, 144], 'antialias': antialias}
    step = resize_step(settings)
    assert step.pop('type') == 'ResizeByRule'
    found = ResizeByRule(**step)({'img': np.ascontiguousarray(image[..., ::-1])})
    expected = ResizeRule.from_settings(settings).apply(image)
    assert (found['img'][..., ::-1] == expected).all()
    assert found['img_shape'] == expected.shape[:2]


def test_labels_that_are_loaded_go_to_the_size_of_the_image():
    labels = np.array([[0, 1], [2, 300]], np.int32)
    sample = {'img': np.zeros((2, 2, 3), np.uint8), 'gt_seg_map': labels, 'seg_fields': []}
    found = ResizeByRule((64, 64))(sample)['gt_seg_map']
    assert found.shape == (64, 64) and found.dtype == np.int32
    assert found[[0, 0, 63, 63], [0, 63, 0, 63]].tolist() == [0, 1, 2, 300]
