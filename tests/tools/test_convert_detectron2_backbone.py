from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from scripts import load_script

from ovseg.encoders.ovseg_format import to_ovseg
from ovseg.errors import UserError
from ovseg.registry import MODELS

tool = load_script('convert_detectron2_backbone')


def published(model):
    """detectron2's names of a ResNet's weights, as arrays."""
    state = to_ovseg({f'backbone.{name}': value for name, value in model.state_dict().items()})
    return {
        name.removeprefix('backbone.'): value.numpy()
        for name, value in state.items()
        if name.startswith('backbone.')
    }


def small_resnet():
    small = dict(type='ResNetV1c', depth=50, stem_channels=8, base_channels=2, style='pytorch')
    return MODELS.build({**small, '_scope_': 'ovseg'})


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize('wrapped', [True, False])
def test_the_weights_arrive_in_mmsegs_backbone(tmp_path, wrapped, capsys):
    torch.manual_seed(0)
    source, target = small_resnet(), small_resnet()
    weights = {**published(source), 'stem.fc.weight': np.ones((3, 4), np.float32)}
    content = {'model': weights, '__author__': 'somebody'} if wrapped else weights
    out = tmp_path / 'new' / 'r.pth'
    assert tool.main([str(write(tmp_path / 'r.pkl', content)), str(out)]) == 0
    state = torch.load(out, weights_only=True)['state_dict']
    assert f'{len(state)} tensors' in capsys.readouterr().out
    found = target.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith('num_batches_tracked') for name in found.missing_keys)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_in_the_pickle_is_run(tmp_path):
    path = write(tmp_path / 'r.pkl', {'model': Runs(tmp_path / 'made')})
    with pytest.raises(UserError, match='would run code .it asks for'):
        tool.read_backbone(path)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2], 'holds no weights'),
        ({'model': {}}, 'holds no weights'),
        ({'model': {'stem.conv1.weight': 3}}, "'stem.conv1.weight' in .* is no array"),
        ({'model': {'res2_0_branch2a_w': np.ones(1)}}, "'res2_0_branch2a_w' is no key"),
    ],
)
def test_other_content_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        tool.read_backbone(write(tmp_path / 'r.pkl', content))
