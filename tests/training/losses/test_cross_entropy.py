from __future__ import annotations

import pytest
import torch
from largest_tensor import LargestTensor
from torch.nn import functional as F

from ovseg.training.losses import upsampled_cross_entropy

CLASSES, IGNORED = 6, 255


def batch(grid, size, count=3):
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(count, CLASSES, *grid, generator=generator)
    labels = torch.randint(CLASSES, (count, *size), generator=generator)
    labels[0, : size[0] // 3] = IGNORED
    return scores, labels


def plainly(scores, labels):
    """Loss, right pixels and gradient as mmseg has them, in double precision."""
    scores = scores.double().requires_grad_()
    wide = F.interpolate(scores, labels.shape[1:], mode='bilinear', align_corners=False)
    loss = F.cross_entropy(wide, labels, ignore_index=IGNORED, reduction='sum')
    right = ((wide.argmax(1) == labels) & (labels != IGNORED)).sum()
    return loss, right, torch.autograd.grad(loss, scores)[0]


@pytest.mark.parametrize('strip_bytes', [1, 3000, 40_000, None])
@pytest.mark.parametrize(
    'grid, size',
    [
        ((5, 7), (40, 56)),
        ((5, 7), (33, 50)),
        ((9, 7), (9, 20)),
        ((7, 20), (30, 20)),
        ((20, 26), (15, 17)),
        ((12, 9), (12, 9)),
        ((1, 1), (8, 8)),
    ],
)
def test_loss_accuracy_and_gradient_are_those_of_the_stretched_scores(grid, size, strip_bytes):
    scores, labels = batch(grid, size)
    given = scores.clone().requires_grad_()
    found = upsampled_cross_entropy(given, labels, IGNORED, strip_bytes)
    (0.4 * found.mean(only_labelled=False)).backward()
    loss, right, gradient = plainly(scores, labels)
    torch.testing.assert_close(found.loss.double(), loss, rtol=2e-6, atol=0)
    assert found.right == right and found.pixels == labels.numel()
    assert found.labelled == (labels != IGNORED).sum()
    expected = 0.4 * gradient / labels.numel()
    torch.testing.assert_close(given.grad.double(), expected, rtol=1e-5, atol=1e-8)
    assert torch.equal(given, scores)


def test_means_and_accuracy_leave_out_what_has_no_label():
    scores, labels = batch((4, 4), (8, 8))
    found = upsampled_cross_entropy(scores, labels, IGNORED)
    loss, right, _ = plainly(scores, labels)
    labelled = int((labels != IGNORED).sum())
    assert found.mean(only_labelled=False).item() == pytest.approx(loss.item() / labels.numel())
    assert found.mean(only_labelled=True).item() == pytest.approx(loss.item() / labelled)
    assert found.accuracy.item() == pytest.approx(100 * right.item() / labelled)


def test_without_any_label_all_is_zero():
    scores, labels = batch((4, 4), (8, 8))
    scores.requires_grad_()
    found = upsampled_cross_entropy(scores, torch.full_like(labels, IGNORED), IGNORED)
    (found.mean(only_labelled=True) + found.mean(only_labelled=False)).backward()
    assert found.loss == found.accuracy == 0 and not scores.grad.any()


def test_another_label_may_be_the_one_to_ignore():
    scores, labels = batch((4, 4), (8, 8))
    labels[labels == IGNORED] = 0
    found = upsampled_cross_entropy(scores, labels, ignore_index=0)
    assert found.labelled == (labels != 0).sum()
    expected = plainly(scores, labels.masked_fill(labels == 0, IGNORED))[0]
    torch.testing.assert_close(found.loss.double(), expected, rtol=2e-6, atol=0)


def test_half_precision_is_computed_in_single():
    scores, labels = batch((5, 7), (40, 56))
    half = scores.bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        found = upsampled_cross_entropy(half, labels, IGNORED)
    found.mean(only_labelled=True).backward()
    loss, _, gradient = plainly(half.detach(), labels)
    assert found.loss.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(found.loss.double(), loss, rtol=2e-6, atol=0)
    expected = (gradient / found.labelled).bfloat16()
    torch.testing.assert_close(half.grad, expected, rtol=1e-2, atol=1e-6)


def test_large_scores_do_not_overflow():
    scores = torch.tensor([[[[1e4]], [[0.0]]]], requires_grad=True)
    found = upsampled_cross_entropy(scores, torch.ones(1, 2, 2, dtype=torch.int64))
    found.mean(only_labelled=True).backward()
    assert found.loss == 4e4
    assert scores.grad.flatten().tolist() == [1, -1]


def test_scores_never_exist_at_the_size_of_the_labels():
    scores, labels = batch((8, 8), (128, 128))
    scores.requires_grad_()
    with LargestTensor() as seen:
        upsampled_cross_entropy(scores, labels, strip_bytes=4 * CLASSES * 128 * 4).loss.backward()
    # The labels of one image; its scores at that size would take three times as much.
    assert seen.largest <= labels[0].numel() * labels.element_size()


def test_gradients_are_taken_only_where_they_are_wanted(monkeypatch):
    scores, labels = batch((4, 4), (8, 8))
    assert not upsampled_cross_entropy(scores, labels).loss.requires_grad
    scores.requires_grad_()
    with torch.no_grad(), monkeypatch.context() as patch:
        patch.delattr(torch.autograd, 'grad')
        assert not upsampled_cross_entropy(scores, labels).loss.requires_grad
    loss = upsampled_cross_entropy(scores, labels).loss
    (gradient,) = torch.autograd.grad(loss.square(), scores, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()
