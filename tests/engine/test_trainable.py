from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from ovseg.errors import UserError


def build(model, **settings):
    config = {
        'type': 'OptimWrapper',
        'constructor': 'TrainableParamsConstructor',
        'optimizer': {'type': 'AdamW', 'lr': 0.5},
        **settings,
    }
    with DefaultScope.overwrite_default_scope('ovseg'):
        return build_optim_wrapper(model, config)


def half_frozen():
    model = nn.ModuleDict({'tower': nn.Linear(2, 2), 'head': nn.Conv2d(2, 2, 1)})
    model['tower'].requires_grad_(False)
    return model


def groups_of(wrapper):
    """Groups with parameters; mmengine adds one that only keeps the common settings."""
    return [group for group in wrapper.param_groups if group['params'][0].requires_grad]


def test_the_optimizer_holds_what_trains():
    model = half_frozen()
    groups = groups_of(build(model))
    held = [param for group in groups for param in group['params']]
    assert all(a is b for a, b in zip(held, model['head'].parameters(), strict=True))
    assert [group['lr'] for group in groups] == [0.5, 0.5]


def test_paramwise_settings_work_as_in_mmengine(caplog):
    wrapper = build(half_frozen(), paramwise_cfg={'custom_keys': {'head.bias': {'lr_mult': 2.0}}})
    assert [group['lr'] for group in groups_of(wrapper)] == [0.5, 1.0]
    assert 'tower' not in caplog.text


def test_names_that_nothing_trainable_has_are_refused():
    with pytest.raises(UserError, match=r"names 'tower', but no trainable .*head.weight"):
        build(half_frozen(), paramwise_cfg={'custom_keys': {'tower': {'lr_mult': 2.0}}})


def test_a_model_without_trainable_parameters_is_named():
    model = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(UserError, match='Linear has no parameter that trains'):
        build(model)
    assert torch.is_tensor(model.weight)
