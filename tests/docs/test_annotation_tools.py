"""The page on annotation tools gives their commands what ovseg's side reads."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
from dataclasses import fields
from types import SimpleNamespace

import pytest
from pages import read_blocks
from scripts import ROOT

from ovseg.integrations.cvat import create
from ovseg.integrations.pre_labels import PreLabels

PAGE = 'docs/annotation_tools.md'
TEXT = (ROOT / PAGE).read_text(encoding='utf-8')
SETTINGS = {field.name for field in fields(PreLabels)}


def block(start):
    (found,) = (each for each in read_blocks(PAGE) if each.text.startswith(start))
    return found.text


def test_cvat_gets_parameters_that_there_are():
    command = shlex.split(block('export CVAT_ACCESS_TOKEN').splitlines()[1])
    module = command[command.index('--function-module') + 1]
    assert importlib.util.find_spec(module)
    given = [command[place + 1] for place, word in enumerate(command) if word == '-p']
    given += re.findall(r'`-p "?(.+?)"?`', TEXT)
    own = set(inspect.signature(create).parameters) - {'settings'}
    assert len(given) >= 6
    for parameter in given:
        name, kind = re.fullmatch(r'(\w+)=(int|str):.+', parameter).groups()
        assert name in own | SETTINGS
        if name in own:
            assert kind in inspect.signature(create).parameters[name].annotation


def test_label_studio_starts_a_class_that_there_is():
    lines = block('echo ').splitlines()
    statement = shlex.split(lines[0])[1]
    module, name = re.fullmatch(r'from (\S+) import (\w+)', statement).groups()
    assert f'class {name}(' in (ROOT / f'{module.replace(".", "/")}.py').read_text()
    assert lines[1].endswith(f':{name}')
    named = set(re.findall(r'OVSEG_(\w+)', TEXT)) - {'TOLERANCE'}
    assert len(named) >= 3 and {each.lower() for each in named} <= SETTINGS


def test_the_table_has_all_settings():
    table = TEXT[TEXT.index('| setting |') : TEXT.index('Masks go over')]
    assert set(re.findall(r'`(\w+)`(?=[^|]*\|[^|]*\|)', table)) >= SETTINGS


def test_the_snippet_for_fiftyone_runs_on_its_data_sets_methods(monkeypatch):
    fiftyone = pytest.importorskip('fiftyone', reason='needs ovseg[fiftyone]')
    applied = {}
    dataset = SimpleNamespace(
        apply_model=lambda model, label_field: applied.update({label_field: model}),
        mask_targets={},
        save=lambda: None,
    )
    monkeypatch.setattr(fiftyone, 'load_dataset', lambda name: dataset)
    exec(block('import fiftyone'), {})
    assert isinstance(applied['pre_labels'], fiftyone.Model)
    assert dataset.mask_targets == {'pre_labels': {1: 'cat', 2: 'sofa'}}
    for method in ('apply_model', 'mask_targets', 'save'):
        assert hasattr(fiftyone.Dataset, method)
