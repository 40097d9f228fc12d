from __future__ import annotations

import warnings

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from ovseg.registry import MODELS

SIZE = (20, 26)


def head(**settings):
    return MODELS.build(dict(type='IdentityHead', _scope_='ovseg', **settings))


def batch():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 5, 5, 7, generator=generator)
    labels = torch.randint(5, (2, *SIZE), generator=generator)
    labels[0, :9] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    return scores, labels, samples


@pytest.mark.parametrize('only_labelled', [False, True])
def test_the_loss_is_cross_entropy_of_the_stretched_scores(only_labelled):
    loss = dict(type='CrossEntropyLoss', loss_weight=0.4, avg_non_ignore=only_labelled)
    scores, labels, samples = batch()
    found = head(loss_decode=loss).loss(scores, samples, None)
    assert set(found) == {'loss_ce', 'acc_seg'}
    wide = F.interpolate(scores, SIZE, mode='bilinear', align_corners=False)
    pixels = F.cross_entropy(wide, labels, ignore_index=255, reduction='none')
    expected = pixels.sum() / ((labels != 255).sum() if only_labelled else labels.numel())
    torch.testing.assert_close(found['loss_ce'], 0.4 * expected)


def test_published_settings_are_the_default():
    scores, _, samples = batch()
    default = head().loss(scores, samples, None)['loss_ce']
    loss = dict(type='CrossEntropyLoss', loss_weight=0.4)
    published = head(in_channels=1, channels=1, num_classes=1, dropout_ratio=0.1, loss_decode=loss)
    torch.testing.assert_close(published.loss(scores, samples, None)['loss_ce'], default)


def test_it_has_no_parameters_and_survives_initialisation():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        made = head(loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
    made.init_weights()
    assert not made.state_dict()
    scores = batch()[0]
    assert made.train()(scores) is scores
