from __future__ import annotations

import argparse
import os

import pytest
import torch
from mmengine.config import Config
from scripts import own_words, run_python

import ovseg.engine.distributed as distributed
from ovseg.engine.launch import (
    add_common_arguments,
    build_runner,
    load_config,
    need_parts,
    need_whole_validation,
)
from ovseg.errors import UserError
from ovseg.images import resize_rule_of


def arguments(config, *words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    return parser.parse_args([str(config), *words])


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='Particular', sigma=1.0)\nlevels = [1, 2]\n")
    return path


def test_overrides_and_work_dir(config_file):
    config = load_config(arguments(config_file, '--cfg-options', 'model.sigma=2.5', 'levels=3,4'))
    assert config.model.sigma == 2.5 and config.levels == [3, 4]
    assert config.work_dir == os.path.join('work_dirs', 'mine')
    assert load_config(arguments(config_file, '--work-dir', 'here')).work_dir == 'here'


@pytest.mark.parametrize(
    'word, message',
    [
        ('modle.sigma=2', "has no 'modle'. Did you mean 'model'"),
        ('levels.7=2', 'do not fit .*mine.py'),
        ('model.sigma.x=2', 'do not fit .*mine.py'),
    ],
)
def test_overrides_that_name_nothing(config_file, word, message):
    with pytest.raises(UserError, match=message):
        load_config(arguments(config_file, '--cfg-options', word))


def test_an_override_without_a_value_is_a_usage_error(config_file, capsys):
    with pytest.raises(SystemExit) as stop:
        arguments(config_file, '--cfg-options', 'model.sigma')
    assert stop.value.code == 2
    assert "takes KEY=VALUE, got 'model.sigma'" in capsys.readouterr().err


def test_config_that_is_not_python(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('model = dict(\n')
    with pytest.raises(UserError, match='broken.py is not valid Python'):
        load_config(arguments(path))


@pytest.mark.parametrize(
    'words', [('maskclip_tiny', '--on', 'scenes_phrases'), ('maskclip_tiny_scenes_phrases.py',)]
)
def test_the_data_set_is_chosen_by_name_and_names_the_folder(words):
    config = load_config(arguments(*words))
    assert config.test_dataloader.dataset.type == 'ScenesPhrasesDataset'
    assert config.work_dir == os.path.join('work_dirs', 'maskclip_tiny_scenes_phrases')


def test_a_model_of_the_zoo_runs_on_the_first_data_set_of_its_config():
    assert load_config(arguments('trident-vit-b16')).on == 'voc20'
    assert load_config(arguments('trident-vit-b16', '--on', 'ade20k')).on == 'ade20k'
    with pytest.raises(FileNotFoundError, match='config trident-vit-b17 .*Did you mean'):
        load_config(arguments('trident-vit-b17'))


@pytest.mark.parametrize('key', ['resize.scale', 'test_dataloader.dataset.resize.scale'])
def test_an_override_of_the_resize_rule_holds_everywhere(key):
    config = load_config(arguments('maskclip_tiny', '--cfg-options', f'{key}=(96,96)'))
    assert tuple(resize_rule_of(config).scale) == (96, 96)


def test_a_config_without_data_says_so():
    with pytest.raises(UserError, match='has no test_dataloader, so there is nothing to evaluate'):
        need_parts(Config({'model': {}}), ('model', 'test_dataloader'), 'evaluate')


def test_only_runners_with_strict_loading():
    with pytest.raises(UserError, match="runner_type 'FlexibleRunner' is not supported"):
        build_runner(Config({'runner_type': 'FlexibleRunner'}))


def test_a_launcher_without_its_environment(config_file, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match='needs RANK and WORLD_SIZE .* torchrun'):
        load_config(arguments(config_file, '--launcher', 'pytorch'))
    monkeypatch.setenv('SLURM_NTASKS', '2')
    with pytest.raises(UserError, match='needs SLURM_PROCID in the environment'):
        load_config(arguments(config_file, '--launcher', 'slurm'))


@pytest.mark.parametrize(
    'launcher, variables',
    [
        ('slurm', {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1'}),
        (
            'mpi',
            {
                'OMPI_COMM_WORLD_RANK': '3',
                'OMPI_COMM_WORLD_SIZE': '4',
                'OMPI_COMM_WORLD_LOCAL_RANK': '1',
            },
        ),
    ],
)
def test_processes_without_gpu_talk_over_gloo(monkeypatch, launcher, variables):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda *args, **kwargs: calls.append(args)
    )
    distributed.init_cpu_group(launcher, {'port': 29511})
    assert calls == [('gloo',)]
    found = {name: os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT')}
    assert found == {'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1', 'MASTER_PORT': '29511'}


def test_a_list_of_dicts_is_an_override_too(config_file):
    words = ('--cfg-options', "model.refiners=[{'type': 'A', 'at': (1, 2.5)}, {'type': 'B'}]")
    config = load_config(arguments(config_file, *words))
    assert config.model.refiners == [{'type': 'A', 'at': (1, 2.5)}, {'type': 'B'}]
    with pytest.raises(UserError, match='cannot read .*write a Python literal'):
        arguments(config_file, '--cfg-options', 'model.refiners=[{type: A}]')


GROUP = """
import atexit
import torch
from torch import distributed
from ovseg.process_end import leave

class Tail:
    def __del__(self):
        print('finalized')

tail = Tail()
torch.set_num_threads(1)
if together:
    store = distributed.HashStore()
    distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 3))
    # Still in the queue of gloo's threads at the end.
    for _ in range(3000):
        distributed.all_reduce(torch.ones(100_000), async_op=True)
atexit.register(lambda: print('at exit, in a group:', distributed.is_initialized()))
leave(code)
"""


@pytest.mark.parametrize(
    'together, code, said',
    [
        (True, 0, ['at exit, in a group: False']),
        (True, 2, ['at exit, in a group: True']),
        (False, 2, ['at exit, in a group: False', 'finalized']),
    ],
)
def test_processes_of_a_group_end_before_the_interpreter_takes_gloo_down(together, code, said):
    ended = run_python(f'together, code = {together}, {code}\n{GROUP}', '-W', 'ignore')
    assert (ended.returncode, own_words(ended.stderr)) == (code, '')
    assert ended.stdout.splitlines() == said


@pytest.mark.parametrize('gone', ['val_dataloader', 'val_cfg', 'val_evaluator'])
def test_a_part_of_a_validation_is_told_with_the_way_to_none(gone):
    parts = {'val_dataloader': {}, 'val_cfg': {}, 'val_evaluator': {}}
    need_whole_validation(Config(parts))
    need_whole_validation(Config(dict.fromkeys(parts)))
    others = ' '.join(f'{part}=None' for part in parts if part != gone)
    with pytest.raises(UserError, match=f'and no {gone}: .*cfg-options {others}'):
        need_whole_validation(Config({**parts, gone: None}))
