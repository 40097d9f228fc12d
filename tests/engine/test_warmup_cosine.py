"""The rate warms up in steps and falls to the end of a training that is counted in rounds."""

import math

import pytest
import torch
from mmengine.registry import DefaultScope

from ovseg.engine import WarmupCosineLR
from ovseg.errors import UserError
from ovseg.registry import PARAM_SCHEDULERS


def optimizer(*rates):
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': rate} for rate in rates]
    return torch.optim.SGD(groups, lr=1.0)


def rates(schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append([group['lr'] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.step()
    return torch.tensor(seen, dtype=torch.float64)


def test_each_group_warms_up_linearly_and_falls_as_a_cosine():
    seen = rates(WarmupCosineLR(optimizer(2.0, 0.5), warmup=4, end=12), 12)
    falling = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    share = torch.tensor([0.25, 0.5, 0.75, 1.0, *falling], dtype=torch.float64)
    torch.testing.assert_close(seen, share[:, None] * torch.tensor([2.0, 0.5]).double())


def test_the_end_counts_rounds_and_the_warm_up_steps():
    config = dict(type='WarmupCosineLR', warmup=4, end=3, by_epoch=True, convert_to_iter_based=True)
    with DefaultScope.overwrite_default_scope('ovseg'):
        built = PARAM_SCHEDULERS.build(
            config, default_args=dict(optimizer=optimizer(1.0), epoch_length=4)
        )
    assert not built.by_epoch and (built.warmup, built.end) == (4, 12)
    assert torch.equal(
        rates(built, 12), rates(WarmupCosineLR(optimizer(1.0), warmup=4, end=12), 12)
    )


def test_a_restored_schedule_goes_on():
    whole = rates(WarmupCosineLR(optimizer(1.0), warmup=2, end=8), 8)
    first = WarmupCosineLR(optimizer(1.0), warmup=2, end=8)
    rates(first, 5)
    second = WarmupCosineLR(optimizer(1.0), warmup=2, end=8)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert torch.equal(rates(second, 3), whole[5:])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(warmup=8, end=8), 'warmup=8 steps must be fewer than the 8'),
        (dict(warmup=-1, end=8), 'warmup=-1'),
        (dict(warmup=1, end=8, by_epoch=True), 'convert_to_iter_based'),
    ],
)
def test_what_makes_no_schedule_is_explained(settings, message):
    with pytest.raises(UserError, match=message):
        WarmupCosineLR(optimizer(1.0), **settings)
