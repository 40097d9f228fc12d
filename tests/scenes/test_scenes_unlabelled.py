"""Crops and pictures of Scenes for trainings without labels: deterministic, and nothing else."""

import numpy as np
import pytest
import torch

from ovseg.errors import UserError
from ovseg.scenes import SceneCropsDataset, ScenePicturesDataset
from ovseg.scenes.crops import random_box, recolored
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene

SMALL = dict(view=40, global_size=24, local_size=16, num_local=3)


def equal(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


def test_a_sample_is_two_global_and_some_local_crops_and_nothing_else():
    sample = SceneCropsDataset(num_views=4, **SMALL)[1]
    assert set(sample) == {'global_crops', 'local_crops'}  # no label, no caption
    assert sample['global_crops'].shape == (2, 3, 24, 24)
    assert sample['local_crops'].shape == (3, 3, 16, 16)
    assert all(crops.dtype == torch.uint8 for crops in sample.values())


def test_crops_follow_from_number_and_seed_alone():
    data = SceneCropsDataset(num_views=9, **SMALL)
    torch.manual_seed(0)
    np.random.seed(0)
    first = data[5]
    data[2]
    torch.rand(3)
    assert equal(first, data[5])
    assert equal(first, SceneCropsDataset(num_views=99, **SMALL)[5])
    assert not equal(first, data[6])
    assert not equal(first, SceneCropsDataset(num_views=9, seed=1, **SMALL)[5])


def test_crops_of_one_sample_differ():
    crops = SceneCropsDataset(num_views=1, **SMALL)[0]
    assert not torch.equal(*crops['global_crops'])
    assert not torch.equal(crops['local_crops'][0], crops['local_crops'][1])


@pytest.mark.parametrize('scale', [(0.05, 0.05), (0.4, 0.4), (1.0, 1.0)])
def test_boxes_lie_inside_and_have_the_wanted_area(scale):
    rng = np.random.default_rng(0)
    for _ in range(50):
        top, left, height, width = random_box(rng, 96, scale)
        assert min(top, left) >= 0
        assert top + height <= 96
        assert left + width <= 96
        # A whole picture's box is cut where its shape does not fit.
        assert scale[0] == 1 or abs(height * width / 96**2 - scale[0]) < 0.03
        assert 0.7 < width / height < 1.4


def test_no_jitter_changes_nothing():
    image = SceneCropsDataset(num_views=1, **SMALL)[0]['global_crops'][0]
    same = recolored(image, np.random.default_rng(0), (0, 0, 0, 0))
    assert (same.int() - image.int()).abs().max() <= 1
    other = recolored(image, np.random.default_rng(0), (0.4, 0.4, 0.2, 0.1))
    assert (other.int() - image.int()).abs().float().mean() > 2


def test_pictures_are_whole_training_scenes_and_nothing_else():
    sample = ScenePicturesDataset(num_scenes=3, size=192)[2]
    assert set(sample) == {'inputs'}
    expected = draw(sample_scene('train', 2)).image
    assert np.array_equal(sample['inputs'].permute(1, 2, 0).numpy(), expected)
    assert ScenePicturesDataset(num_scenes=3, size=96)[0]['inputs'].shape == (3, 96, 96)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: SceneCropsDataset(num_views=0), 'num_views, view.*got 0, 96'),
        (lambda: SceneCropsDataset(num_views=1, num_local=0), 'must be above 0'),
        (lambda: ScenePicturesDataset(num_scenes=1, size=0), 'got 1 and 0'),
    ],
)
def test_wrong_sizes_are_explained(build, message):
    with pytest.raises(UserError, match=message):
        build()
