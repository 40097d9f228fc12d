from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

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
