from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors.torch import save_file
from torch import nn

from ovseg.engine.checkpoint import (
    install_safe_loading,
    latest_checkpoint,
    load_checkpoint_strict,
)
from ovseg.errors import UserError


class Touch:
    """Leaves a file behind when a pickle of it is executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Model(nn.Module):
    frozen_prefixes = ('tower.',)
    checkpoint_ignore = ('text_tower.',)

    def __init__(self):
        super().__init__()
        self.tower = nn.Linear(2, 2)
        self.head = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)


def trained_part(model):
    return {name: v.clone() for name, v in model.state_dict().items() if 'tower' not in name}


def save(tmp_path, content, name='model.pth', **settings):
    torch.save(content, tmp_path / name, **settings)
    return tmp_path / name


def one_sentence(error):
    text = str(error.value)
    assert '\n' not in text and 'weights_only' not in text
    return text


@pytest.fixture
def marker(tmp_path):
    return tmp_path / 'executed'


def test_mmengine_loads_safely_too_once_told_so(tmp_path, marker, monkeypatch):
    loader = mmengine_checkpoint.CheckpointLoader
    monkeypatch.setattr(loader, '_schemes', loader._schemes.copy())
    for name in ('load_from_local', 'load_from_http'):
        monkeypatch.setattr(mmengine_checkpoint, name, getattr(mmengine_checkpoint, name))
    install_safe_loading()
    path = save(tmp_path, {'state_dict': Touch(marker)})
    module = BaseModule(init_cfg={'type': 'Pretrained', 'checkpoint': str(path)})
    with pytest.raises(UserError):
        module.init_weights()
    with pytest.raises(UserError):
        mmengine_checkpoint.load_checkpoint(module, str(path))
    assert not marker.exists()


@pytest.mark.parametrize('form', ['plain', 'wrapped', 'detectron2', 'parallel', 'safetensors'])
def test_loads_every_form_of_a_state_dict(tmp_path, form):
    source, model = Model(), Model()
    state = trained_part(source)
    path = tmp_path / 'model.safetensors'
    if form == 'safetensors':
        save_file(state, path)
    elif form == 'parallel':
        path = save(tmp_path, {f'module.{name}': value for name, value in state.items()})
    elif form == 'detectron2':
        path = save(tmp_path, {'model': OrderedDict(state), 'iteration': 7, 'optimizer': {}})
    else:
        path = save(tmp_path, state if form == 'plain' else {'state_dict': state})
    tower = model.tower.weight.clone()
    load_checkpoint_strict(model, path)
    assert torch.equal(model.head.weight, source.head.weight)
    assert torch.equal(model.tower.weight, tower)


def changed(**changes):
    state = trained_part(Model())
    for name, value in changes.items():
        name = name.replace('__', '.')
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'head__weight': None}, r'Model: 1 missing \(head.weight\)'),
        ({'other__weight': torch.ones(1)}, r'1 unexpected \(other.weight\)'),
        ({'tower__other': torch.ones(1)}, r'1 unexpected \(tower.other\)'),
        ({'head__bias': torch.ones(4)}, r'head.bias is \(4,\), wanted \(3,\)'),
        ({'tower__bias': torch.full((2,), 9.0)}, "other weights for the frozen part 'tower.bias'"),
        ({'head__bias': torch.tensor([0, float('nan'), 0])}, "NaN or infinite .* 'head.bias'"),
    ],
)
def test_unexplained_keys_stop(tmp_path, changes, message):
    model = Model()
    before = trained_part(model)
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint_strict(model, save(tmp_path, changed(**changes)))
    one_sentence(error)
    after = trained_part(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_explained_keys_pass(tmp_path):
    model = Model()
    state = changed(norm__num_batches_tracked=None, text_tower__weight=torch.ones(1))
    state['tower.weight'] = model.tower.weight.detach().clone()
    load_checkpoint_strict(model, save(tmp_path, state))
    assert torch.equal(model.head.bias, state['head.bias'])


@pytest.mark.parametrize('content', [{}, {'state_dict': {}}, {'epoch': 3}, [torch.ones(1)]])
def test_a_file_without_weights(tmp_path, content):
    with pytest.raises(UserError, match='holds (no weights|a list)'):
        load_checkpoint_strict(Model(), save(tmp_path, content))


def test_latest_checkpoint_survives_a_crash(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ('iter_900.pth', 'iter_1000.pth', 'best_mIoU.pth', '.writing-iter_1100.pth'):
        (tmp_path / name).touch()
    assert latest_checkpoint(tmp_path).name == 'iter_1000.pth'
    record = tmp_path / 'last_checkpoint'
    record.write_text('')
    assert latest_checkpoint(tmp_path).name == 'iter_1000.pth'
    record.write_text('/elsewhere/iter_900.pth')
    assert latest_checkpoint(tmp_path).name == 'iter_900.pth'
    record.write_text(str(tmp_path / 'iter_5.pth'))
    assert latest_checkpoint(tmp_path).name == 'iter_1000.pth'
