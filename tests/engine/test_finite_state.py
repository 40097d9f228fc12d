"""Bad steps change nothing, whatever they spoil first and whoever leaves them out."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ovseg.engine import finite
from ovseg.engine.finite import FiniteStateHook, what_is_kept
from ovseg.errors import UserError


class Scaled(OptimWrapper):
    """Mixed precision's way of leaving steps out, on any device."""

    def __init__(self, optimizer, **settings):
        super().__init__(optimizer, **settings)
        self.loss_scaler = torch.amp.GradScaler('cpu')

    def backward(self, loss, **_):
        self.loss_scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self, **_):
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


class Training:
    """A model with running statistics, its optimizer, and steps with good or bad inputs."""

    def __init__(self, wrapper=OptimWrapper, **settings):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.runner = SimpleNamespace(
            model=self.model,
            optim_wrapper=wrapper(optimizer, **settings),
            iter=0,
            work_dir='work',
            cfg={},
            logger=logging.getLogger('test'),
        )
        self.hook = FiniteStateHook()
        self.hook.before_train(self.runner)

    def step(self, value=1.0, spoil_gradients=False):
        self.hook.before_train_iter(self.runner, 0)
        loss = self.model(torch.randn(2, 2, 4, 4) * value).square().mean()
        if spoil_gradients:
            loss.register_hook(lambda gradient: gradient * float('nan'))
        self.runner.optim_wrapper.update_params(loss)
        self.hook.after_train_iter(self.runner, 0, outputs={'loss': loss.detach()})
        self.runner.iter += 1

    def state(self):
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('bad', [{'value': float('inf')}, {'spoil_gradients': True}])
def test_a_bad_step_leaves_weights_and_running_statistics(bad):
    training = Training()
    training.step()
    before = training.state()
    training.step(**bad)
    assert same(training.state(), before)
    training.step()
    assert not same(training.state(), before)
    assert finite.first_non_finite(training.state()) is None


def test_the_optimizer_stays_finite():
    training = Training()
    for bad in (False, True, True, False):
        training.step(spoil_gradients=bad)
    assert finite.first_non_finite(training.runner.optim_wrapper.state_dict()) is None


def test_mixed_precision_that_takes_no_step_ends(monkeypatch):
    monkeypatch.setattr(finite, '_PATIENCE', 6)
    training = Training(Scaled)
    for _ in range(4):  # it finds its scale
        training.step(spoil_gradients=True)
    for _ in range(10):
        training.step()
    before = training.state()
    with pytest.raises(UserError, match=r'in all of the last 6 iterations, at iteration 20;'):
        for _ in range(9):
            training.step(spoil_gradients=True)
    weights = {name: value for name, value in before.items() if not name.startswith('1.')}
    assert same(weights, training.state())


def test_micro_batches_are_no_steps(monkeypatch):
    monkeypatch.setattr(finite, '_PATIENCE', 2)
    training = Training(Scaled, accumulative_counts=4)
    for _ in range(12):
        training.step()


def test_a_training_promises_no_checkpoint_that_is_not_there(tmp_path):
    runner = SimpleNamespace(cfg={}, work_dir=str(tmp_path))
    assert what_is_kept(runner) == f'no checkpoint was saved yet in {tmp_path}'
    (tmp_path / 'iter_4.pth').touch()
    assert what_is_kept(runner) == f'the last checkpoint in {tmp_path} is kept'
