from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.utils import stack_batch

from ovseg.engine.crop_sizes import padding_notes
from ovseg.engine.explain import explained
from ovseg.errors import UserError
from ovseg.registry import MODELS


@MODELS.register_module()
class Particular:
    def __init__(self, wanted, sigma=1.0):
        if sigma < 0:
            raise TypeError('a bug of ours')


def explain(model):
    config = Config({'model': model, 'default_scope': 'ovseg'})
    with explained(config):
        MODELS.build(dict(model))


@pytest.mark.parametrize(
    'model, message',
    [
        ({'type': 'Particulr'}, "type 'Particulr', .* Did you mean 'Particular'"),
        (
            {'type': 'Particular', 'wanted': 1, 'sigm': 2},
            "gives Particular a setting 'sigm' .* Did you mean 'sigma'",
        ),
        ({'type': 'Particular'}, "gives Particular no 'wanted'"),
    ],
)
def test_mistakes_of_a_config_are_one_sentence(model, message):
    with pytest.raises(UserError, match=message):
        explain(model)


def test_bugs_keep_their_traceback():
    with pytest.raises(TypeError, match='a bug of ours'):
        explain({'type': 'Particular', 'wanted': 1, 'sigma': -1})
    with pytest.raises(KeyError, match='other'), explained(Config({})):
        {}['other']
    with pytest.raises(TypeError, match='unexpected'), explained(Config({})):
        Particular(1, other=2)


def test_errors_of_loader_processes_lose_their_traceback():
    text = 'Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent'
    text += ' call last):\n  File "x.py", line 1, in y\novseg.errors.UserError: a.png: is cut off\n'
    with pytest.raises(UserError) as error, explained(Config({})):
        raise UserError(text)
    assert str(error.value) == 'a.png: is cut off'


def test_missing_annotations_are_named_with_their_data_set():
    dataset = {'data_root': 'data/mine/', 'ann_file': 'objects.json'}
    config = Config({'train_dataloader': {'dataset': dataset}})
    message = 'data/mine/objects.json do not exist; set train_dataloader.dataset.data_root'
    with pytest.raises(UserError, match=message), explained(config):
        Path('data/mine/objects.json').read_text()
    with pytest.raises(FileNotFoundError), explained(config):
        Path('data/mine/other.json').read_text()


@MODELS.register_module()
class Plain:
    pass


def resized(image, scale=1):
    return image


def test_settings_of_what_has_none_and_of_functions():
    with pytest.raises(UserError, match="gives Plain a setting 'sigma', but it has none"):
        explain({'type': 'Plain', 'sigma': 1})
    config = Config({'model': {'text': {'scal': 2}}})
    with pytest.raises(UserError, match="resized a setting 'scal' .*Did you mean 'scale'"):  # noqa: SIM117
        with explained(config):
            resized(None, **config.model.text)


@pytest.mark.parametrize(
    ('padding', 'messages'),
    [
        (
            {'size': (192, 192)},
            [r'sizes \[3, 40, 60\] and \[3, 64, 64\] make no batch', r'size=\(224, 224\)'],
        ),
        ({'size': (224, 224)}, ['give pictures of one size']),
        ({'size': None}, ['has size=None and size_divisor=None']),
    ],
)
def test_pictures_that_make_no_batch(padding, messages):
    """The errors are those of mmseg's own function."""
    crop = {'type': 'RandomCrop', 'crop_size': (224, 224)}
    loader = {'batch_size': 2, 'dataset': {'pipeline': [crop]}}
    config = Config({'model': {'data_preprocessor': padding}, 'train_dataloader': loader})
    assert bool(padding_notes(config)) == (padding['size'] == (192, 192))
    with pytest.raises(UserError) as error, explained(config):
        size = padding['size'] and (32, 32)
        stack_batch([torch.zeros(3, 40, 60), torch.zeros(3, 64, 64)], size=size)
    assert all(re.search(message, str(error.value)) for message in messages)


def test_what_torch_says_of_anything_else_is_kept():
    with pytest.raises(RuntimeError, match='shapes cannot'), explained(Config({})):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    loader = {'dataset': {'pipeline': [{'type': 'RandomCrop', 'crop_size': (64, 64)}]}}
    settings = {'model': {'data_preprocessor': {'size': (32, 32)}}, 'train_dataloader': loader}
    assert padding_notes({**settings, 'train_dataloader': {**loader, 'batch_size': 1}}) == []
