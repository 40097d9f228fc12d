from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image
from torch.nn import functional as F

from ovseg.images import AntialiasedResize
from ovseg.registry import TRANSFORMS


@pytest.fixture
def sample():
    random = np.random.default_rng(0)
    return {
        'img': random.integers(0, 256, (50, 75, 3), dtype=np.uint8),
        'gt_seg_map': random.integers(0, 847, (50, 75), dtype=np.int32),
    }


@pytest.mark.parametrize(
    ('scale', 'size'),
    [((256, 20), (20, 30)), ((20, 256), (20, 30)), ((1000, 81), (81, 122)), ((60, 50), (40, 60))],
)
def test_the_short_side_is_set_and_the_long_side_bounded(sample, scale, size):
    image, labels = sample['img'], sample['gt_seg_map']
    found = AntialiasedResize(scale=scale)(sample)
    wanted = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    assert found['img_shape'] == size
    assert np.array_equal(found['img'], wanted)
    grid = torch.from_numpy(labels.astype(np.float64))[None, None]
    nearest = F.interpolate(grid, size=size, mode='nearest')[0, 0].numpy()
    assert np.array_equal(found['gt_seg_map'], nearest)
    assert found['gt_seg_map'].dtype == np.int32


def test_shrinking_averages_instead_of_picking_pixels():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = AntialiasedResize(scale=(16, 16))({'img': stripes})['img']
    assert shrunk[:, 1:-1].min() > 100 and shrunk[:, 1:-1].max() < 155


def test_it_serves_random_choice_of_sizes(sample):
    with DefaultScope.overwrite_default_scope('ovseg'):
        step = TRANSFORMS.build(
            dict(type='RandomChoiceResize', scales=[(256, 20)], resize_type='AntialiasedResize')
        )
    assert step(sample)['img'].shape == (20, 30, 3)
