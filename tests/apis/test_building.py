"""What a checkpoint given by the caller is taken for."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from tiny_clip_models import VIT, tiny_clip

from ovseg.apis.building import build_model
from ovseg.errors import UserError


@pytest.fixture
def config():
    clip = {'model': VIT, 'pretrained': 'random'}
    guide = {'type': 'DINOiserGuide', 'in_channels': 32, 'channels': 8, 'weights': 'gone.pt'}
    model = {
        'type': 'CLIPDINOiser',
        'clip': clip,
        'guide': guide,
        'encoder': {'mlp_input_layer': -2},
        'text': {'cache_dir': None, 'templates': 'single'},
    }
    return Config({'model': model})


def layers():
    return {
        'obj_proj.weight': torch.randn(8, 32, 3, 3),
        'obj_proj.bias': torch.zeros(8),
        'bkg_decoder.weight': torch.randn(1, 32, 1, 1),
        'bkg_decoder.bias': torch.zeros(1),
    }


@pytest.mark.parametrize('prefix, key', [('', 'model_state_dict'), ('guide.', 'state_dict')])
def test_a_file_of_the_two_layers_goes_to_the_guide(config, tmp_path, prefix, key):
    state = layers()
    content = {key: {f'{prefix}{name}': value for name, value in state.items()}}
    torch.save(content, tmp_path / 'layers.pt')
    model = build_model(config, tmp_path / 'layers.pt')
    assert all(torch.equal(model.guide.state_dict()[name], state[name]) for name in state)


def test_a_file_of_a_clip_goes_to_the_clip(config, tmp_path):
    state = tiny_clip('vit').model.state_dict()
    torch.save(state, tmp_path / 'clip.pt')
    torch.save(layers(), tmp_path / 'layers.pt')
    config.model.guide.weights = str(tmp_path / 'layers.pt')
    model = build_model(config, tmp_path / 'clip.pt')
    assert all(torch.equal(model.clip.state_dict()[name], state[name]) for name in state)


def test_random_weights_need_no_file(config):
    assert build_model(config, 'random').guide.obj_proj.weight.shape == (8, 32, 3, 3)


def test_layers_of_another_shape_are_named(config, tmp_path):
    torch.save({**layers(), 'obj_proj.bias': torch.zeros(9)}, tmp_path / 'layers.pt')
    with pytest.raises(UserError, match=r'guide.obj_proj.bias is \(9,\), wanted \(8,\)'):
        build_model(config, tmp_path / 'layers.pt')


@pytest.mark.parametrize(
    ('place', 'named'),
    [(lambda model: model.guide, 'weights'), (lambda model: model.clip, 'pretrained')],
)
def test_a_file_that_is_not_there_is_said_before_anything_is_built(
    config, tmp_path, monkeypatch, place, named
):
    monkeypatch.setattr('ovseg.apis.building.MODELS.build', lambda *_: pytest.fail('built'))
    (tmp_path / 'weight').mkdir()  # a folder is no answer to a file that is missing
    missing = tmp_path / 'weights.pt'
    config.model.guide.weights = 'https://nowhere.example/last.pt'
    place(config.model)[named] = str(missing)
    with pytest.raises(FileNotFoundError, match=rf'{named}: weight file {missing}') as raised:
        build_model(config)
    assert 'Did you mean' not in str(raised.value)
    (tmp_path / 'weight.pt').touch()
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'weight\.pt'\?"):
        build_model(config)
