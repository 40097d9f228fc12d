"""The page "train on my own data" works as it stands, on a miniature folder."""

from __future__ import annotations

import glob
import re
import shlex
import subprocess

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from scripts import ROOT, load_script

from ovseg.cli.train import build_parser
from ovseg.engine.launch import load_config
from ovseg.registry import MODELS

PAGE = (ROOT / 'docs' / 'train_my_data.md').read_text(encoding='utf-8')
HEAD, PHOTOGRAPHS = PAGE.split('## Photographs, on a GPU')
BLOCKS = re.findall(r'```python\n(.*?)```', HEAD, re.DOTALL)
COMMANDS = re.findall(r'^    ((?:python|mv) .+)$', HEAD, re.MULTILINE)
# Smaller than on the page: a few scenes, two steps of two crops.
FEWER = {'--training': '4', '--validation': '2'}
SHORTER = [
    *('train_cfg.max_iters=2', 'train_cfg.val_interval=1', 'param_scheduler.1.end=2'),
    *('train_dataloader.batch_size=2', 'default_hooks.checkpoint.interval=1'),
    'default_hooks.logger.interval=1',
]


def follow(command: str) -> None:
    """Runs one command of the page in the current folder."""
    words = shlex.split(command, comments=True)
    if words[0] == 'mv':
        subprocess.run(words, check=True)
        return
    folder, name = words[1].removesuffix('.py').split('/')
    words = [found for word in words[2:] for found in (sorted(glob.glob(word))[-1:] or [word])]
    for option, value in FEWER.items():
        if option in words:
            words[words.index(option) + 1] = value
    if name == 'train':
        words += ['--cfg-options', *SHORTER]
    assert load_script(name, folder).main(words) == 0


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where somebody followed the page up to the export."""
    place = tmp_path_factory.mktemp('page')
    (place / 'configs').symlink_to(ROOT / 'configs')
    (place / 'mine.py').write_text(BLOCKS[0], encoding='utf-8')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in COMMANDS:
            if 'Tensorboard' not in command:
                follow(command)
    return place


def test_the_page_has_all_its_steps():
    scripts = [command.split()[1] for command in COMMANDS if command.startswith('python')]
    assert scripts == [
        'tools/make_scenes.py',
        *['tools/train.py'] * 2,
        *['tools/test.py', 'demo/image_demo.py', 'tools/export.py'],
    ]
    assert len(BLOCKS) == 2


def test_following_it_gives_a_tested_model_and_masks(folder):
    names = Config.fromfile(folder / 'mine.py').names
    (result,) = (folder / 'work_dirs' / 'mine_test').rglob('result.json')
    assert all(f'"{name}"' in result.read_text(encoding='utf-8') for name in names)
    assert len(list((folder / 'work_dirs/mine_test/pictures').iterdir())) == 2
    masks = sorted((folder / 'outputs' / 'mine').glob('*_labels.png'))
    assert len(masks) == 2 and np.asarray(Image.open(masks[0])).max() < len(names)
    (best,) = (folder / 'work_dirs' / 'mine').glob('best_mIoU_iter_*.pth')
    exported = folder / 'work_dirs' / 'mine' / 'small.safetensors'
    assert exported.stat().st_size < best.stat().st_size / 4


def test_its_python_example_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(BLOCKS[1], {})
    everything, two = capsys.readouterr().out.strip().split('\nclass')
    names = Config.fromfile('mine.py').names
    assert found_in(everything, names)
    assert set(found_in(two, names)) <= {'sky', 'star'} and found_in(two, names)


def found_in(table, names):
    """Which of the names a printed table has a row for."""
    return [name for name in names if re.search(rf'^{name} ', table, re.MULTILINE)]


def test_its_tensorboard_option_is_read(folder, monkeypatch):
    monkeypatch.chdir(folder)
    command = next(command for command in COMMANDS if 'Tensorboard' in command)
    args = build_parser().parse_args(shlex.split(command, comments=True)[2:])
    backends = load_config(args).visualizer.vis_backends
    assert [backend['type'] for backend in backends] == ['LocalVisBackend', 'TensorboardVisBackend']


@pytest.mark.parametrize('block', re.findall(r'```python\n(.*?)```', PHOTOGRAPHS, re.DOTALL))
def test_the_configs_for_photographs_fit_the_names(folder, block):
    base, model = block.strip().splitlines()
    lines = [line for line in BLOCKS[0].splitlines() if not line.startswith(('_base_', 'model'))]
    path = folder / 'photographs.py'
    path.write_text('\n'.join([base, *lines[:5], model, *lines[5:]]) + '\n', encoding='utf-8')
    config = Config.fromfile(path)
    dataset = config.train_dataloader.dataset
    assert dataset.metainfo.classes == config.names == config.model.vocabulary
    with DefaultScope.overwrite_default_scope('ovseg'):
        segmentor = MODELS.build(config.model)
    assert not any(value.requires_grad for value in segmentor.text_encoder.parameters())
    with torch.no_grad():
        scores = segmentor.eval()._forward(torch.zeros(1, 3, 64, 64))
    assert scores.shape == (1, len(config.names), 16, 16)
    crop = config.model.data_preprocessor['size']
    assert dataset.pipeline[3].crop_size == crop == config.model.test_cfg.crop_size
    assert config.model.backbone.input_resolution == crop[0]
