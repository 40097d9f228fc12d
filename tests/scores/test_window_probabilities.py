from __future__ import annotations

import pytest
import torch
from tiny_clip_models import VIT
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.scores.window_probabilities import WindowProbabilities
from ovseg.segmentors import TrainingFreeSegmentor

WINDOWS = {'mode': 'slide', 'crop_size': (16, 24), 'stride': (8, 16), 'average': 'probabilities'}


def segmentor(**settings):
    torch.manual_seed(0)
    return TrainingFreeSegmentor(
        clip={'model': VIT, 'pretrained': 'random'},
        text={'cache_dir': None, 'templates': 'single', 'logit_scale': 30.0},
        vocabulary=['cat', 'sky', 'a red car'],
        **settings,
    )


def test_each_window_has_its_own_softmax_in_pixels_and_the_shares_are_averaged():
    maps = torch.randn(2, 5, 3, 4)
    boxes = [(0, 0, 12, 16), (0, 8, 12, 24)]
    shares = WindowProbabilities(maps, boxes, (12, 24), scale=3.0)
    total, count = torch.zeros(5, 12, 24), torch.zeros(12, 24)
    for part, (y1, x1, y2, x2) in zip(maps, boxes, strict=True):
        total[:, y1:y2, x1:x2] += (3 * F.interpolate(part[None], (12, 16), mode='bilinear'))[
            0
        ].softmax(0)
        count[y1:y2, x1:x2] += 1
    wanted = total / count
    assert torch.allclose(shares.whole(MemoryBudget(1e-3)), wanted, atol=1e-6)
    assert torch.allclose(shares.rows(3, 7, torch.tensor([4, 1])), wanted[[4, 1], 3:7], atol=1e-6)


@torch.inference_mode()
def test_a_model_that_averages_probabilities_gives_those_as_its_scores():
    model = segmentor(test_cfg=WINDOWS)
    encoding = model.encode(Images(torch.randn(1, 3, 24, 40)))[0]
    decision = model.segment(encoding, (24, 40), keep_scores=True)
    averaged = model.scores(encoding, model.classifier, (24, 40)).whole(model.budget)
    assert torch.allclose(averaged.sum(0), torch.ones(24, 40), atol=1e-5)
    assert torch.allclose(decision.scores, averaged, atol=1e-5)
    assert torch.equal(decision.labels, averaged.argmax(0))
    other = segmentor(test_cfg={**WINDOWS, 'average': 'scores'})
    before = other.segment(other.encode(Images(torch.randn(1, 3, 24, 40)))[0], (24, 40))
    assert not torch.allclose(before.shares.whole(model.budget), averaged, atol=1e-3)


def test_settings_that_do_not_go_with_it_are_refused():
    with pytest.raises(UserError, match=r"average='probabilities' goes with mode='slide'"):
        segmentor(test_cfg={'average': 'probabilities'})
    with pytest.raises(UserError, match=r"average must be 'scores' or 'probabilities', got 'all'"):
        segmentor(test_cfg={**WINDOWS, 'average': 'all'})
    with pytest.raises(UserError, match='neither with a refiner that makes them on the patch grid'):
        segmentor(test_cfg=WINDOWS, refiners=[{'type': 'ScoreSoftmax'}])
