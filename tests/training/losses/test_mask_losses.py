"""Losses of masks: against loops and hand-made numbers."""

import math

import pytest
import torch

from ovseg.training.losses import attention_outside, dice_loss, focal_loss, mask_iou


def random_pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 4, 5, generator=generator)
    return logits, (torch.rand(2, 4, 5, generator=generator) > 0.5).float()


def test_focal_loss_is_that_of_a_loop_over_pixels():
    logits, target = random_pair()
    for mask in range(2):
        terms = []
        for logit, truth in zip(
            logits[mask].flatten().tolist(), target[mask].flatten().tolist(), strict=True
        ):
            right = 1 / (1 + math.exp(-logit if truth else logit))
            terms.append(-((1 - right) ** 2) * math.log(right))
        assert focal_loss(logits, target)[mask].item() == pytest.approx(sum(terms) / 20, rel=1e-4)


def test_focal_loss_without_gamma_is_the_cross_entropy():
    logits, target = random_pair()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(focal_loss(logits, target, gamma=0).mean(), expected)


def test_dice_loss_counts_overlap_twice():
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    logits = torch.tensor([[60.0, -60.0, 60.0, -60.0]])  # one of two right, one beside
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 * 1 + 1) / (4 + 1))
    assert dice_loss(60 * (2 * target - 1), target).item() == pytest.approx(0, abs=1e-6)


def test_iou_is_zero_where_nothing_is():
    masks = torch.tensor([[[True, True, False]], [[False, False, False]]])
    target = torch.tensor([[True, False, True]])
    assert mask_iou(masks, target).tolist() == pytest.approx([1 / 3, 0])
    assert mask_iou(masks[1], masks[1]) == 0


def test_attention_within_masks_costs_nothing_and_outside_the_log_of_what_is_left():
    # Two patches in the mask, two outside, one head that attends within and one that does not.
    coverage = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    within = torch.tensor([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    outside = torch.tensor([[0.25, 0, 0.75, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    assert attention_outside(within[None], coverage).item() == 0
    both = attention_outside(torch.stack([within, outside]), coverage)
    assert both.item() == pytest.approx((math.log(4) + math.log(2)) / 4, rel=1e-5)


def test_patches_that_no_mask_covers_wholly_cost_nothing():
    weights = torch.full((2, 4, 4), 0.25)
    assert attention_outside(weights, torch.full((3, 1, 2, 2), 0.9)).item() == 0
