from __future__ import annotations

import pytest
from mmengine.config import Config

from ovseg.engine.schedule import check_schedule
from ovseg.errors import UserError


def config(max_iters, begin, end):
    poly = {'type': 'PolyLR', 'by_epoch': False, 'begin': begin, 'end': end}
    warm = {'type': 'LinearLR', 'by_epoch': False, 'begin': 0, 'end': 30}
    return Config({'train_cfg': {'max_iters': max_iters}, 'param_scheduler': [warm, poly]})


def test_schedules_that_fit_say_nothing():
    assert check_schedule(config(600, 0, 600)) == check_schedule(config(600, 0, 601)) == []
    assert check_schedule(Config({'train_cfg': {'max_epochs': 2}})) == []


def test_a_shortened_training_names_the_setting():
    (note,) = check_schedule(config(40, 0, 600))
    assert note == (
        'param_scheduler.1 (PolyLR) is made for 600 iterations, the training ends after 40; '
        'param_scheduler.1.end=40 fits it'
    )
    (note,) = check_schedule(config(40, 50, 600))
    assert 'begins after 50 iterations: not in this training' in note


@pytest.mark.parametrize(
    'words, message', [((40, 50, 40), 'param_scheduler.1.begin'), ((0, 0, 9), 'nothing to train')]
)
def test_schedules_that_cannot_be(words, message):
    with pytest.raises(UserError, match=message):
        check_schedule(config(*words))
