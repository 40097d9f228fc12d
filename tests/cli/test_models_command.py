"""``ovseg models``: what the models cost, for people and for programs."""

from __future__ import annotations

import json

import pytest

from ovseg import list_models
from ovseg.apis.building import build_model
from ovseg.cli.command import main
from ovseg.config_files import read_config
from ovseg.zoo.costs import COSTS, SPEEDS
from ovseg.zoo.worlds import SCENES

NAMES = [entry.name for entry in list_models()]
SHIPPED = [entry for entry in list_models() if entry.world == SCENES]


def test_every_model_has_a_cost_and_every_cost_a_model():
    assert set(COSTS) == set(NAMES), 'say in ovseg/zoo/costs.py what it costs, measured'
    assert {cost.speed for cost in COSTS.values()} == set(SPEEDS)


@pytest.mark.parametrize('entry', SHIPPED, ids=lambda entry: entry.name)
def test_parameters_are_those_of_the_built_model(entry):
    config = read_config(entry.config_path, entry.on)
    counted = sum(
        value.numel()
        for name, value in build_model(config).named_parameters()
        if not name.startswith('teacher.')
    )
    assert counted / 1e6 == pytest.approx(COSTS[entry.name].parameters, abs=0.051)


def test_the_table_has_a_line_for_each_model(capsys):
    assert main(['models']) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ['model', 'method', 'weights', 'licence', 'speed', 'parameters']
    assert [row.split()[0] for row in rows] == NAMES
    assert max(map(len, rows)) <= 114


def test_quiet_prints_names_alone(capsys):
    assert main(['models', '-q']) == 0
    assert capsys.readouterr().out.splitlines() == NAMES


def test_json_holds_licences_sizes_and_published_numbers(capsys):
    assert main(['models', 'naclip-vit-b16', 'ovseg-swin-b-vit-l14', '--json']) == 0
    naclip, ovseg = json.loads(capsys.readouterr().out)
    assert naclip['published_miou']['voc20'] == 83.03
    assert naclip['parameters'] == 149_600_000 and naclip['megabytes'] == pytest.approx(598.4)
    assert not naclip['non_commercial'] and ovseg['non_commercial']
    assert ovseg['weights'] == 'you bring them' and ovseg['speed'] == 'gpu'


def test_a_page_on_one_model_has_its_licence_in_full(capsys):
    assert main(['models', 'maskclip-vit-b16']) == 0
    out = capsys.readouterr().out
    assert 'MIT (openai/CLIP); its model card advises' in out and 'voc20 49.5' in out


def test_a_name_that_no_model_has_is_refused(capsys):
    assert main(['models', 'naclip-vit-b61']) == 2
    assert "Did you mean 'naclip-vit-b16'?" in capsys.readouterr().err
