from __future__ import annotations

import mmcv
import numpy as np
import pytest

from ovseg.datasets import SSDPhotoMetricDistortion


@pytest.fixture
def picture():
    # Colours whose hues survive 8 bits: full saturation and brightness.
    hues = np.arange(0, 180, dtype=np.uint8)
    full = np.full_like(hues, 255)
    return mmcv.hsv2bgr(np.stack([hues, full, full], -1)[None])


def hues(image):
    return mmcv.bgr2hsv(image)[..., 0].astype(int)


def test_hue_shifts_reach_both_ends(picture):
    np.random.seed(0)
    step, shifts = SSDPhotoMetricDistortion(hue_delta=2), set()
    for _ in range(100):
        moved = (hues(step.hue(picture)) - hues(picture) + 90) % 180 - 90
        shifts.add(int(np.median(moved)))
    assert shifts == {-2, -1, 0, 1, 2}


def test_half_of_the_images_keep_their_hue_and_the_input_stays(picture):
    np.random.seed(0)
    before = picture.copy()
    kept = sum(SSDPhotoMetricDistortion().hue(picture) is picture for _ in range(400))
    assert 160 < kept < 240
    assert np.array_equal(picture, before)


def test_the_whole_distortion_gives_an_image_of_the_same_kind(picture):
    np.random.seed(1)
    found = SSDPhotoMetricDistortion()({'img': picture})['img']
    assert found.shape == picture.shape and found.dtype == np.uint8
    assert not np.array_equal(found, picture)
