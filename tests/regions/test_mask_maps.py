from __future__ import annotations

import pytest
import torch
from largest_tensor import LargestTensor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_maps import (
    WeighedMasks,
    best_classes,
    mask_maps,
    mask_probabilities,
    masks_at,
    select_queries,
    sum_of_masks,
)
from ovseg.scores.decide import decide
from ovseg.text.decision_rule import DecisionRule
from ovseg.text.row_groups import RowGroups
from ovseg.vocabulary import Rejection

PADDED, SIZE = (64, 96), (50, 77)


def decided(maps, scores, size, budget, keep_scores=False):
    """Labels, and class scores as they are, not scaled to probabilities."""
    classes = scores.shape[1]
    groups = RowGroups(torch.arange(classes), classes, torch.ones(classes), 'linear')
    rule = DecisionRule(groups, 1.0, Rejection(), None, are_probabilities=True)
    summed = WeighedMasks(masks_at(maps, size), scores)
    decision = decide(summed, rule, budget, measure=True)
    return decision, summed.whole(budget) if keep_scores else None


def resize(maps, size):
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]


def proposals(queries=9, classes=5):
    torch.manual_seed(0)
    return 3 * torch.randn(queries, 16, 24), torch.rand(queries, classes)


def plain(logits, scores, size):
    """Score maps as published: sums at the network's size, then resized."""
    masks = resize(logits, PADDED)[:, : SIZE[0], : SIZE[1]].sigmoid()
    return resize(torch.einsum('qk,qhw->khw', scores, masks), size)


@pytest.mark.parametrize('size', [SIZE, (133, 91), (31, 200)])
@pytest.mark.parametrize('megabytes', [1e-6, 0.02, 1024])
def test_labels_and_scores_are_those_of_the_resized_score_maps(size, megabytes):
    logits, scores = proposals()
    maps = mask_maps(logits, PADDED, SIZE)
    decision, found = decided(maps, scores, size, MemoryBudget(megabytes), keep_scores=True)
    expected = plain(logits, scores, size)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(decision.labels, found.argmax(0))
    assert torch.allclose(decision.own, found.amax(0) / found.sum(0), atol=1e-5)


def test_masks_are_cut_after_the_resize_and_before_the_sigmoid():
    logits, _ = proposals()
    maps = mask_maps(logits, PADDED, SIZE)
    expected = resize(logits, PADDED)[:, : SIZE[0], : SIZE[1]].sigmoid()
    assert torch.allclose(mask_probabilities(maps), expected, atol=1e-6)
    chosen = torch.tensor([7, 2])
    assert torch.allclose(mask_probabilities(select_queries(maps, chosen)), expected[chosen])
    nothing = select_queries(maps, torch.zeros(9, dtype=torch.bool))
    assert mask_probabilities(nothing).shape == (0, *SIZE)


@pytest.mark.parametrize('at_once', [1, 3, 7, 50])
def test_chunks_of_classes_have_the_labels_of_all_and_ties_go_to_the_first(at_once):
    torch.manual_seed(0)
    masks, scores = torch.rand(4, 6, 8), torch.rand(4, 40)
    scores[:, 31] = scores[:, 17] = scores.sum(1)  # the best class stands there twice
    values, ours = best_classes(masks, scores, at_once)
    assert (ours == 17).all()
    assert torch.allclose(values, sum_of_masks(masks, scores).amax(0))
    scores[:, 17] = scores[:, 31] = 0
    expected = torch.einsum('qk,qhw->khw', scores, masks).argmax(0)
    assert torch.equal(best_classes(masks, scores, at_once)[1], expected)


def test_blocks_of_pixels_have_the_labels_of_all():
    torch.manual_seed(0)
    # More pixels and more classes than are compared at a time.
    masks, scores = torch.rand(7, 50, 47), torch.rand(7, 300)
    expected = torch.einsum('qk,qhw->khw', scores, masks).argmax(0)
    assert len(expected.unique()) > 20
    assert torch.equal(best_classes(masks, scores)[1], expected)


def test_memory_does_not_grow_with_the_classes_nor_with_the_image():
    logits, scores = proposals(queries=20, classes=847)
    with LargestTensor() as seen:
        decision, _ = decided(mask_maps(logits, PADDED, SIZE), scores, (300, 400), MemoryBudget(1))
    labels = decision.labels
    assert labels.shape == (300, 400) and labels.max() > 20
    # All 847 maps would take 400 MB; the labels themselves take one.
    assert seen.largest <= max(2**20, labels.numel() * 8)


def test_without_masks_everything_is_zero():
    logits, scores = proposals()
    maps = select_queries(mask_maps(logits, PADDED, SIZE), torch.zeros(9, dtype=torch.bool))
    decision, found = decided(maps, scores[:0], (10, 12), MemoryBudget(1), keep_scores=True)
    assert not decision.labels.any() and decision.labels.shape == (10, 12)
    assert not decision.own.any()
    assert not found.any() and found.shape == (5, 10, 12)


def test_half_precision_masks_are_summed_in_single():
    masks, scores = torch.rand(30, 4, 5).half(), torch.rand(30, 3).half()
    ours = sum_of_masks(masks, scores)
    assert ours.dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(sum_of_masks(masks, scores), ours)


def test_shapes_that_do_not_fit_are_named():
    logits, scores = proposals()
    with pytest.raises(UserError, match=r'\(65, 77\) pixels does not fit .* \(64, 96\)'):
        mask_maps(logits, PADDED, (65, 77))
    with pytest.raises(UserError, match=r'9 masks need scores \(9, K\), got \(8, 5\)'):
        WeighedMasks(mask_maps(logits, PADDED, SIZE), scores[1:])
