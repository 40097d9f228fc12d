from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors.torch import save_file
from torch import nn

from ovseg.engine.checkpoint import (
    install_safe_loading,
    load_checkpoint_strict,
    read_checkpoint,
)
from ovseg.errors import UserError


class Touch:
    """Leaves a file behind when a pickle of it is executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Reaching:
    """Asks for an attribute by the one function that Runner checkpoints may name."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


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


@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path, marker, zipped):
    content = {'state_dict': {'head.weight': torch.zeros(3, 2)}, 'meta': Touch(marker)}
    path = save(tmp_path, content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(path) in one_sentence(error)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), 'the file would not have done anything anyway'


def test_a_bare_pickle_is_refused_and_not_executed(tmp_path, marker):
    path = tmp_path / 'model.pth'
    path.write_bytes(pickle.dumps(Touch(marker)))
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    one_sentence(error)
    assert not marker.exists()


def test_getattr_reaches_nothing_but_statistics(tmp_path):
    with pytest.raises(UserError, match='__init__'):
        read_checkpoint(save(tmp_path, {'x': Reaching()}))


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


def test_what_a_runner_writes_can_be_read(tmp_path):
    hub = MessageHub.get_instance('test_checkpoint')
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('best_score', np.float64(0.5))
    content = {
        'meta': {'iter': 3, 'seed': np.int64(7), 'dataset_meta': {'palette': np.eye(3)}},
        'state_dict': OrderedDict(weight=torch.ones(2)),
        'message_hub': hub.state_dict(),
    }
    found = read_checkpoint(save(tmp_path, content))
    assert found['meta']['seed'] == 7
    np.testing.assert_array_equal(found['meta']['dataset_meta']['palette'], np.eye(3))
    losses = found['message_hub']['log_scalars']['train/loss']
    assert losses.current() == 0.25 and losses.statistics('mean') == 0.25
    assert found['message_hub']['runtime_info']['best_score'] == 0.5


@pytest.mark.parametrize('place', ['core', '_core'])
def test_files_of_either_numpy_can_be_read(tmp_path, place):
    path = save(tmp_path, {'value': np.float64(1.5)}, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for name in (b'numpy._core.multiarray', b'numpy.core.multiarray'):
        data = data.replace(b'c' + name, b'cnumpy.' + place.encode() + b'.multiarray')
    path.write_bytes(data)
    assert read_checkpoint(path)['value'] == 1.5


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04 cut off'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_damaged_files(tmp_path, content, suffix):
    path = tmp_path / f'model{suffix}'
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(path) in one_sentence(error)


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    save(tmp_path, {}, 'iter_4000.pth')
    with pytest.raises(FileNotFoundError, match="does not exist.*Did you mean '.*iter_4000.pth'"):
        read_checkpoint(tmp_path / 'iter_400.pth')


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
