"""Networks for weights of a file are built without a random number."""

from __future__ import annotations

import pytest
import timm
import torch
from simultaneous import in_threads
from tiny_clip_models import RESNET, VIT
from torch import nn

from ovseg.encoders.clip import build_architecture, load_clip
from ovseg.encoders.tiny import build_tiny_clip
from ovseg.weight_files import Unfilled


def taken(build):
    """Whether random numbers are taken."""
    before = torch.get_rng_state()
    build()
    return not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    'build',
    [
        lambda: nn.Linear(3, 4),
        lambda: nn.Conv2d(3, 4, 2),
        lambda: nn.Embedding(5, 3),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.init.trunc_normal_(nn.Parameter(torch.empty(3, 3))),
        lambda: nn.init.xavier_normal_(nn.Parameter(torch.empty(3, 3))),
        lambda: timm.layers.trunc_normal_tf_(torch.empty(3, 3), std=0.02),
    ],
)
def test_layers_take_no_random_numbers_inside_and_some_outside(build):
    with Unfilled():
        assert not taken(build)
    assert taken(build)


def test_what_is_no_random_start_is_computed():
    with Unfilled():
        norm = nn.LayerNorm(4)
        constant = nn.init.constant_(torch.empty(2), 3.0)
        assert torch.equal(torch.arange(3.0).mul_(2), torch.tensor([0.0, 2.0, 4.0]))
    assert norm.weight.eq(1).all() and norm.bias.eq(0).all() and constant.eq(3).all()


def test_other_threads_draw():
    with Unfilled():
        layers = in_threads(lambda number: nn.Linear(50, 50), 2)
    assert all(0.05 < layer.weight.std() < 0.15 for layer in layers)


@pytest.mark.parametrize('config', [VIT, RESNET], ids=['vit', 'resnet'])
def test_a_clip_of_a_file_is_the_file_and_takes_no_random_numbers(config, tmp_path):
    whole = build_architecture(config).state_dict()
    path = tmp_path / 'clip.pt'
    torch.save(whole, path)
    loaded = []
    first = taken(lambda: loaded.append(load_clip(config, path).model.state_dict()))
    assert not first and loaded[0].keys() == whole.keys()
    assert all(torch.equal(loaded[0][name], value) for name, value in whole.items())


def test_the_embedded_clip_takes_no_random_numbers():
    assert not taken(build_tiny_clip)
