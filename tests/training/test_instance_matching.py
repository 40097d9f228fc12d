"""Matching of queries and instances, and the losses of what is matched."""

import torch
from torchvision.ops import box_convert, generalized_box_iou

from ovseg.training.instance_matching import box_overlap, match_instances
from ovseg.training.losses.concept_losses import ConceptOutputs, concept_losses

LEFT, RIGHT, TOP = [0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], [0.5, 0.25, 1.0, 0.5]


def test_overlap_is_torchvisions():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 7, 4, generator=generator)
    expected = generalized_box_iou(
        box_convert(first, 'cxcywh', 'xyxy'), box_convert(second, 'cxcywh', 'xyxy')
    )
    torch.testing.assert_close(box_overlap(first[:, None], second[None]), expected)


def test_each_instance_gets_its_nearest_query_and_scores_break_ties():
    boxes = torch.tensor([[RIGHT, LEFT, LEFT, TOP]] * 2)
    targets = torch.tensor([[LEFT, RIGHT]] * 2)
    scores = torch.tensor([[0.0, -1.0, 1.0, 5.0]] * 2)
    members = torch.tensor([[True, True], [True, False]])
    rows, queries, instances = match_instances(scores, boxes, targets, members)
    found = sorted(zip(rows.tolist(), instances.tolist(), queries.tolist(), strict=True))
    assert found == [(0, 0, 2), (0, 1, 0), (1, 0, 2)]
    nothing = match_instances(scores, boxes, targets, torch.zeros(2, 2, dtype=torch.bool))
    assert [len(each) for each in nothing] == [0, 0, 0]


def outputs(presence, scores, mask):
    """What a model says of two questions with two queries each, at the right boxes."""
    boxes = torch.tensor([[LEFT, RIGHT]] * 2)
    drawn = torch.stack([mask, -mask])
    return ConceptOutputs(
        torch.tensor([presence]),
        torch.tensor([scores]).requires_grad_(),
        boxes[None].clone().requires_grad_(),
        torch.tensor([0]),
        drawn[None].clone().requires_grad_(),
        mask[None].clone().requires_grad_(),
    )


def answers():
    """Left is there and asked for by the first question; the second asks for nothing there."""
    left = torch.zeros(4, 4, dtype=torch.bool)
    left[:, :2] = True
    masks = torch.stack([left, ~left])[None].expand(2, -1, -1, -1)
    targets = torch.tensor([[LEFT, RIGHT]] * 2)
    return masks, targets, torch.tensor([[True, False], [False, False]])


def test_a_right_answer_costs_nothing_and_a_wrong_one_something():
    masks, targets, members = answers()
    sure = 20 * (2 * masks[0, 0].float() - 1)
    right = outputs([12.0, -12.0], [[12.0, -12.0], [12.0, 12.0]], sure)
    assert all(value < 0.01 for value in concept_losses(right, masks, targets, members).values())
    wrong = outputs([-12.0, 12.0], [[-12.0, 12.0], [0.0, 0.0]], -sure)
    lost = concept_losses(wrong, masks, targets, members)
    large = ('loss_presence', 'loss_score', 'loss_mask_focal', 'loss_semantic_dice')
    assert all(lost[name] > 1 for name in large), lost
    assert lost['loss_distance'] == 0 and float(lost['loss_overlap'].detach()) < 1e-6


def test_queries_learn_nothing_of_what_is_not_there():
    masks, targets, members = answers()
    found = outputs([0.0, 0.0], [[0.0, 0.0], [3.0, 3.0]], torch.zeros(4, 4))
    sum(concept_losses(found, masks, targets, members).values()).backward()
    assert found.scores.grad[0, 0].abs().min() > 0 and not found.scores.grad[0, 1].any()
    assert found.masks.grad[0, 0].abs().max() > 0 and not found.masks.grad[0, 1].any()


def test_questions_about_nothing_alone_have_finite_losses():
    masks, targets, members = answers()
    found = outputs([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]], torch.zeros(4, 4))
    lost = concept_losses(found, masks, targets, members & False)
    assert torch.stack(list(lost.values())).isfinite().all()
    assert lost['loss_score'] == lost['loss_mask_dice'] == lost['loss_semantic_dice'] == 0
