from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import EncHead, FCNHead
from mmseg.structures import SegDataSample

import ovseg.training.heads.decode_loss as module
from ovseg.training.heads.decode_loss import decode_loss

CLASSES = 5


def cross_entropy(**settings):
    return dict(type='CrossEntropyLoss', **{'avg_non_ignore': True, **settings})


def head(loss, kind=FCNHead, **settings):
    torch.manual_seed(0)
    common = dict(in_channels=4, channels=4, num_classes=CLASSES, dropout_ratio=0)
    return kind(**{**common, **settings}, loss_decode=loss)


def batch():
    generator = torch.Generator().manual_seed(1)
    levels = [torch.randn(2, 4, 6, 7, generator=generator)]
    labels = torch.randint(CLASSES, (2, 1, 21, 26), generator=generator)
    labels[1, :, :7] = 255
    return levels, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


@pytest.fixture
def strips(monkeypatch):
    """How often the cross-entropy was taken in strips."""
    calls = []

    def remember(*words):
        calls.append(words)
        return original(*words)

    original = module.upsampled_cross_entropy
    monkeypatch.setattr(module, 'upsampled_cross_entropy', remember)
    return calls


@pytest.mark.parametrize(
    'loss',
    [
        cross_entropy(),
        cross_entropy(avg_non_ignore=False, loss_weight=0.4),
        cross_entropy(loss_name='loss_words'),
    ],
)
def test_the_usual_loss_is_that_of_mmseg_and_so_are_its_gradients(loss, strips):
    made = head(loss)
    expected = made.loss(*batch(), None)
    found = decode_loss(made, *batch(), None)
    assert len(strips) == 1 and found.keys() == expected.keys()
    name = loss.get('loss_name', 'loss_ce')
    torch.testing.assert_close(found[name], expected[name])
    torch.testing.assert_close(found['acc_seg'].reshape(()), expected['acc_seg'].reshape(()))
    gradients = [
        torch.autograd.grad(losses[name], list(made.parameters())) for losses in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    'settings',
    [
        dict(loss=[cross_entropy(), dict(type='DiceLoss')]),
        dict(loss=dict(type='TverskyLoss')),
        # mmseg cannot average over labelled pixels with weights.
        dict(loss=cross_entropy(class_weight=[1.0, 2.0, 3.0, 4.0, 5.0], avg_non_ignore=False)),
        dict(loss=cross_entropy(use_sigmoid=True)),
        dict(loss=cross_entropy(reduction='sum')),
        dict(loss=cross_entropy(), align_corners=True),
        dict(loss=cross_entropy(), sampler=dict(type='OHEMPixelSampler', min_kept=9)),
        dict(loss=cross_entropy(), kind=EncHead, in_channels=[4, 4, 4], in_index=[0, 1, 2]),
    ],
)
def test_other_losses_are_left_to_the_head(settings, strips):
    made = head(**settings)
    levels, samples = batch()
    levels = 3 * levels
    expected = made.loss(levels, samples, None)
    found = decode_loss(made, levels, samples, None)
    assert not strips and found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value)
