"""Boxes as a target for the score map: against a loop and hand-made numbers."""

import pytest
import torch
from torch.nn import functional as F

from ovseg.training.losses import box_raster, box_segmentation_loss


def random_boxes(count, size, seed):
    """Boxes inside, across and beyond the border, some of them tiny."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor(size[::-1]) * 1.4 - 10
    extent = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corners, corners + extent], 1)


def by_loop(boxes, labels, classes, size):
    height, width = size[0] // 4, size[1] // 4
    target = torch.zeros(len(boxes), classes, height, width)
    for image, (corners, kinds) in enumerate(zip(boxes, labels, strict=True)):
        for corner, kind in zip(corners.tolist(), kinds.tolist(), strict=True):
            x1, x2 = (min(max(int(corner[i] / 4), 0), width - 1) for i in (0, 2))
            y1, y2 = (min(max(int(corner[i] / 4), 0), height - 1) for i in (1, 3))
            target[image, kind, y1:y2, x1:x2] = 1
    return target


@pytest.mark.parametrize('size', [(64, 96), (50, 37)])
def test_the_raster_is_that_of_a_loop_over_boxes(size):
    boxes = [random_boxes(12, size, 0), random_boxes(0, size, 1), random_boxes(30, size, 2)]
    labels = [torch.arange(len(b)) % 5 for b in boxes]
    before = [b.clone() for b in boxes]
    target, mask = box_raster(boxes, labels, 5, size)
    expected = by_loop(boxes, labels, 5, size)
    assert torch.equal(target, expected) and expected.sum() > 20
    assert torch.equal(mask, expected.amax(1, keepdim=True))
    assert not target[..., -1].any() and not target[..., -1, :].any()
    assert all(torch.equal(a, b) for a, b in zip(boxes, before, strict=True))


def test_overlapping_boxes_of_two_classes_both_hold_and_of_one_class_count_once():
    boxes = [torch.tensor([[0.0, 0, 16, 16], [8, 8, 24, 24], [0, 0, 16, 16]])]
    target, mask = box_raster(boxes, [torch.tensor([0, 1, 0])], 2, (32, 32))
    assert target[0, :, 2, 2].tolist() == [1, 1] and target.max() == 1
    assert mask.sum() == 16 + 16 - 4


def test_a_box_between_multiples_of_four_vanishes():
    _, mask = box_raster([torch.tensor([[5.0, 5, 7.9, 7.9]])], [torch.tensor([0])], 1, (32, 32))
    assert mask.sum() == 0


def test_the_loss_is_the_mean_over_covered_cells_and_classes():
    score_map = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    boxes, labels = [torch.tensor([[4.0, 8, 20, 16]])], [torch.tensor([2])]
    covered = score_map[0, :, 2:4, 1:5]
    truth = torch.tensor([0.0, 0, 1])[:, None, None].expand_as(covered)
    expected = F.binary_cross_entropy(covered.sigmoid(), truth)
    torch.testing.assert_close(box_segmentation_loss(score_map, boxes, labels, (32, 32)), expected)


def test_the_score_map_is_resized_with_pixel_centres():
    score_map = torch.tensor([[[[0.0, 4.0]]]]).requires_grad_()
    boxes, labels = [torch.tensor([[0.0, 0, 4, 4]])], [torch.tensor([0])]
    loss = box_segmentation_loss(score_map, boxes, labels, (8, 16))
    # Four columns over two cells: the first one's centre lies left of the first cell's.
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item())


@pytest.mark.parametrize('boxes', [torch.zeros(0, 4), torch.tensor([[1.0, 1, 3, 3]])])
def test_without_a_covered_cell_loss_and_gradient_are_zero(boxes):
    score_map = torch.randn(1, 2, 4, 4).requires_grad_()
    loss = box_segmentation_loss(score_map, [boxes], [torch.zeros(len(boxes)).long()], (32, 32))
    loss.backward()
    assert loss.item() == 0 and torch.equal(score_map.grad, torch.zeros_like(score_map))


def test_half_precision_scores_stay_finite():
    score_map = torch.full((1, 2, 8, 8), 14.25, dtype=torch.float16)
    boxes, labels = [torch.tensor([[0.0, 0, 16, 16]])], [torch.tensor([1])]
    loss = box_segmentation_loss(score_map, boxes, labels, (32, 32))
    assert loss.item() == pytest.approx(14.25 / 2, rel=1e-3) and loss.dtype == torch.float32
