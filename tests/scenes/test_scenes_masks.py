"""Scenes with masks: every part of a scene is a mask, and nothing says what it is."""

import numpy as np
import pytest
import torch

from ovseg.errors import UserError
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.masks import SceneMasksDataset, part_masks
from ovseg.scenes.world import MATERIALS, sample_scene


def test_objects_stay_whole_and_materials_fall_into_regions():
    thing = len(MATERIALS)
    owner = np.array(
        [[0, 0, thing, 0, 0]] * 4 + [[thing] * 5] + [[1, 1, thing, 1, 1]] * 2, np.uint8
    )
    owner[5:, :2] = thing + 1
    masks = part_masks(owner, smallest=0)
    sizes = sorted(int(mask.sum()) for mask in masks)
    # Twice 4 x 2 of material 0, one piece of material 1, the cross, and the second object.
    assert sizes == [4, 4, 8, 8, 11]
    assert (masks.sum(0) == 1).all()


def test_small_parts_are_left_out():
    owner = np.zeros((20, 20), np.uint8)
    owner[3:5, 3:5] = len(MATERIALS)
    assert len(part_masks(owner, smallest=0.02)) == 1
    assert len(part_masks(owner, smallest=0.01)) == 2
    assert part_masks(owner, smallest=1.0).shape == (0, 20, 20)


def test_masks_of_a_scene_do_not_overlap():
    scene = sample_scene('val', 0)
    masks = part_masks(draw(scene, whole(scene, 0.5)).owner)
    assert len(masks) >= 3
    assert masks.sum(0).max() == 1


def test_a_sample_is_a_function_of_number_and_seed():
    first, again, other = (SceneMasksDataset(9, size=64, seed=seed)[5] for seed in (0, 0, 1))
    assert set(first) == {'inputs', 'masks'}
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first['inputs'].shape != other['inputs'].shape or not torch.equal(
        first['inputs'], other['inputs']
    )


def test_sizes_are_those_of_the_frame_and_masks_stay_inside_the_picture():
    shapes = set()
    for number in range(30):
        sample = SceneMasksDataset(30, size=64, masks=3)[number]
        _, height, width = sample['inputs'].shape
        shapes.add((height, width))
        assert max(height, width) == 64
        assert sample['inputs'].dtype == torch.uint8
        assert sample['masks'].shape == (3, 32, 32)
        assert sample['masks'].dtype == torch.bool
        assert sample['masks'].flatten(1).any(1).all()
        assert not sample['masks'][:, height // 2 :].any()
        assert not sample['masks'][:, :, width // 2 :].any()
    assert (64, 64) in shapes
    assert any(height < width for height, width in shapes)
    assert any(height > width for height, width in shapes)


def test_a_mask_lies_on_what_it_is_of():
    # Colours vary less within the parts than in the whole picture.
    within, overall = [], []
    for number in range(10):
        sample = SceneMasksDataset(10, size=96)[number]
        small = torch.nn.functional.avg_pool2d(sample['inputs'][None].float(), 2)[0]
        for mask in sample['masks'][:, : small.shape[1], : small.shape[2]]:
            within.append(small[:, mask].var(1, correction=0).mean())
            overall.append(small.flatten(1).var(1, correction=0).mean())
    assert torch.stack(within).mean() < 0.6 * torch.stack(overall).mean()


@pytest.mark.parametrize(
    'change', [dict(num_scenes=0), dict(size=63), dict(masks=0), dict(span=0), dict(span=193)]
)
def test_wrong_arguments_are_explained(change):
    with pytest.raises(UserError, match='num_scenes, size and masks must be above 0, size even'):
        SceneMasksDataset(**{'num_scenes': 1, **change})
