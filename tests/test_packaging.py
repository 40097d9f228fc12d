from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module

import pytest
from scripts import ROOT


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """What a wheel holds: the package as `build_py` lays it out, outside the checkout."""
    folder = tmp_path_factory.mktemp('built')
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def test_a_wheel_holds_configs_class_words_and_the_tiny_weights(built):
    for part in (
        '.mim/configs/maskclip/maskclip_tiny.py',
        '.mim/configs/maskclip/metafile.yaml',
        '.mim/configs/_base_/default_runtime.py',
        '.mim/tools/test.py',
        '.mim/model-index.yml',
        '.mim/tools/dist_test.sh',
        '.mim/tools/export.py',
        'datasets/preparation/ade847_object_ids.json',
        'vocabulary/names/ade847.json',
        'weights/tiny_clip_scenes.safetensors',
        'weights/tiny_sam_scenes.safetensors',
        'weights/tiny_siglip_scenes.safetensors',
        'app/viewer.html',
        'app/viewer.css',
        'app/viewer.js',
        'app/page.css',
        'py.typed',
    ):
        assert (built / 'ovseg' / part).is_file(), part
    assert not list(built.rglob('*.pyc'))
    assert not (built / 'tests').exists() and not (built / 'configs').exists()


def test_names_of_models_work_outside_a_checkout(built, tmp_path):
    script = (
        'import ovseg, numpy as np\n'
        'from ovseg import OpenVocabSegmenter, list_models\n'
        f'assert ovseg.__file__.startswith({str(built)!r}), ovseg.__file__\n'
        'assert all(entry.config_path.is_file() for entry in list_models())\n'
        'assert sum(bool(entry.published) for entry in list_models()) > 10\n'
        "result = OpenVocabSegmenter('maskclip-tiny', device='cpu')("
        "np.zeros((64, 64, 3), np.uint8), 'sky; grass')\n"
        'print(result.labels.shape)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(built)}
    done = subprocess.run(
        [sys.executable, '-c', script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '(64, 64)'


def test_a_training_runs_by_its_name_outside_a_checkout(built, tmp_path):
    words = ['train', 'denseclip_fpn_tiny_scenes', '--quiet', '--work-dir', 'work']
    settings = ['train_cfg.max_iters=1', 'train_cfg.val_interval=9']
    settings += ['train_dataloader.batch_size=1', 'default_hooks.checkpoint.interval=1']
    settings += ['val_dataloader.dataset.num_scenes=1']
    done = subprocess.run(
        [sys.executable, '-m', 'ovseg', *words, '--cfg-options', *settings],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(built)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stdout, done.stderr
    assert (tmp_path / 'work' / 'iter_1.pth').is_file()
    copy = (tmp_path / 'work' / 'denseclip_fpn_tiny_scenes.py').read_text(encoding='utf-8')
    assert str(built) not in copy and "type='DenseCLIP'" in copy


def test_the_console_script_is_the_command():
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    module, function = re.search(r"'ovseg = ([\w.]+):(\w+)'", setup).groups()
    assert callable(getattr(import_module(module), function))


def test_the_parity_tool_of_a_wheel_says_that_it_needs_a_checkout(built, tmp_path):
    done = subprocess.run(
        [sys.executable, str(built / 'ovseg' / '.mim' / 'tools' / 'check_parity.py'), 'golden'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(built)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert 'run tools/check_parity.py of a checkout' in done.stderr
    assert len(done.stderr.splitlines()) == 1
