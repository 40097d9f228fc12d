"""Prompts: points on what is meant, boxes around it, coarse prompts that are roughly right."""

import pytest
import torch

from ovseg.training.losses import mask_iou
from ovseg.training.mask_prompts import (
    Prompts,
    boxes_around,
    coarse_prompts,
    coarse_scores,
    error_points,
    noised_boxes,
    random_points,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def disks(count=6, side=48):
    """Masks (count, side, side) of disks of radius 10 at several places."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
    centers = 12 + torch.arange(count) * (side - 24) / max(1, count - 1)
    return torch.stack([(x - c) ** 2 + (y - side / 2) ** 2 < 100 for c in centers])


def test_a_random_point_lies_anywhere_in_its_region():
    region = torch.zeros(1, 4, 5, dtype=torch.bool)
    region[0, 2, 3:] = True
    points = torch.cat([random_points(region, 2, seeded(seed)) for seed in range(60)])
    assert set(points[:, 0].tolist()) == {6, 7, 8, 9}
    assert set(points[:, 1].tolist()) == {4, 5}


def test_corrections_lie_where_the_prediction_is_wrong_and_say_what_is_right():
    target = torch.zeros(2, 6, 6, dtype=torch.bool)
    target[:, :, :3] = True
    predicted = target.clone()
    predicted[0, 0, 0] = False  # missed
    predicted[1, 5, 4] = True  # too much
    points, labels = error_points(predicted, target, 1, seeded())
    assert points.tolist() == [[0, 0], [4, 5]]
    assert labels.tolist() == [1, 0]


def test_without_an_error_the_correction_is_a_point_of_the_mask():
    target = disks()
    points, labels = error_points(target, target, 1, seeded())
    x, y = points.unbind(1)
    assert target[torch.arange(len(target)), y, x].all()
    assert labels.tolist() == [1] * len(target)


def test_boxes_hold_all_pixels_and_no_more():
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:4, 2] = True
    masks[1, 4, 0] = masks[1, 0, 6] = True
    assert boxes_around(masks, 1).tolist() == [[2, 1, 2, 3], [0, 0, 6, 4]]
    assert boxes_around(masks, 4).tolist() == [[8, 4, 11, 15], [0, 0, 27, 19]]


def test_noise_of_boxes_grows_with_their_sides_up_to_a_limit_and_the_frame():
    boxes = torch.tensor([[10.0, 20.0, 60.0, 30.0]]).repeat(2000, 1)
    moves = noised_boxes(boxes, 0.1, 100, (200, 200), seeded()) - boxes
    assert moves.std(0).tolist() == pytest.approx([5, 1, 5, 1], rel=0.1)
    assert (noised_boxes(boxes, 0.1, 2, (200, 200), seeded()) - boxes).abs().max() == 2
    assert torch.equal(noised_boxes(boxes, 0.0, 9, (200, 200), seeded()), boxes)
    inside = noised_boxes(boxes, 0.5, 100, (40, 50), seeded())
    assert inside[:, [0, 2]].min() >= 0 and inside[:, [0, 2]].max() <= 49
    assert inside[:, [1, 3]].min() >= 0 and inside[:, [1, 3]].max() <= 39
    assert (inside[:, :2] <= inside[:, 2:]).all()


def test_coarse_scores_are_high_inside_and_zero_far_away():
    masks = disks()
    scores = coarse_scores(masks, 12, 0.25, seeded())
    assert scores.shape == masks.shape
    assert scores.min() >= 0 and scores.max() <= 1
    assert scores[masks].mean() > 0.7
    wide = torch.nn.functional.max_pool2d(masks[:, None].float(), 25, stride=1, padding=12)
    far = wide[:, 0] == 0
    assert far.any()
    assert scores[far].max() == 0


def test_without_noise_and_with_a_cell_a_pixel_scores_are_the_mask():
    masks = disks()
    assert torch.equal(coarse_scores(masks, 48, 0.0), masks.float())


def test_coarse_prompts_are_roughly_right():
    masks = disks(20)
    prompts, area = coarse_prompts(masks, 2, generator=seeded())
    iou = mask_iou(area, masks)
    assert 0.5 < iou.mean() < 0.95  # neither useless nor the truth
    assert iou.std() > 0.02
    x, y = (prompts.points[:, 0] // 2).unbind(1)
    rows = torch.arange(len(masks))
    assert area[rows, y, x].all()
    assert masks[rows, y, x].float().mean() > 0.8
    assert prompts.labels.tolist() == [[1]] * 20
    true_boxes = boxes_around(masks, 2)
    size = true_boxes[:, 2] - true_boxes[:, 0]
    moved = (prompts.boxes - true_boxes).abs().amax(1) / size
    assert 0.02 < moved.median() < 0.4


def test_the_mask_prompt_is_weak_and_nowhere_negative():
    masks = disks(20)
    prompts, area = coarse_prompts(masks, 2, generator=seeded())
    assert prompts.masks.shape == (20, 1, 48, 48)
    values = prompts.masks[prompts.masks > 0]
    assert prompts.masks.min() == 0
    assert values.min() > 0.001 and values.max() <= 0.005
    # About half of them also hold another mask, as two places of one class do.
    distant = torch.nn.functional.max_pool2d(area[:, None].float(), 9, stride=1, padding=4) == 0
    others = ((prompts.masks > 0) & distant).flatten(1).any(1)
    assert 4 <= others.sum() <= 16


def test_a_mask_finer_than_the_grid_keeps_its_own_area():
    masks = torch.zeros(3, 48, 48, dtype=torch.bool)
    masks[:, 20, 30] = True
    prompts, area = coarse_prompts(masks, 2, generator=seeded())
    assert torch.equal(area, masks)
    assert prompts.points[:, 0].tolist() == [[61, 41]] * 3


def test_prompts_of_a_seed_are_the_same_again():
    first, again = (coarse_prompts(disks(), 2, generator=seeded(3))[0] for _ in range(2))
    for name in ('points', 'labels', 'boxes', 'masks'):
        assert torch.equal(getattr(first, name), getattr(again, name)), name


def test_points_are_added_to_what_is_there():
    masks = torch.zeros(2, 1, 8, 8)
    boxes = torch.rand(2, 4)
    points, labels = torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 0])
    once = Prompts(boxes=boxes).with_points(points, labels, masks)
    twice = once.with_points(points + 1, 1 - labels, masks + 1)
    assert once.points.tolist() == [[[1, 2]], [[3, 4]]]
    assert twice.points.tolist() == [[[1, 2], [2, 3]], [[3, 4], [4, 5]]]
    assert twice.labels.tolist() == [[1, 0], [0, 1]]
    assert twice.boxes is boxes
    assert torch.equal(twice.masks, masks + 1)
