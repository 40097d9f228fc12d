"""Embedded models on data of the user's: what their small world cannot know is said, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from own_data import write_own_config, write_pictures
from tool_runs import run_tool

from ovseg.scenes.datasets import CLASSES
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.weight_files import WEIGHTS

WORDS = 'model = dict(vocabulary=names)'


def scenes(count):
    return [draw(sample_scene('val', index)).image for index in range(count)]


def photos(count):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (64, 80, 3), dtype=np.uint8) for _ in range(count)]


def doubts(log):
    text = ' '.join(log.split())
    return 'were never seen' in text or 'was never seen' in text, 'not look like the small' in text


def log_of(work):
    (path,) = Path(work).rglob('*.log')
    return path.read_text(encoding='utf-8')


@pytest.mark.parametrize(
    ('names', 'pictures', 'expected'),
    [
        (['zebra', 'sky', 'road'], photos(3), (True, True)),
        # Two of five are strange: fewer than half, and captions had all words.
        (['red star', 'sky', 'grass'], [*scenes(3), *photos(2)], (False, False)),
        (['red star', 'sky', 'grass'], [*scenes(1), *photos(2)], (False, True)),
    ],
)
def test_words_and_pictures_are_doubted_each_for_itself(tmp_path, names, pictures, expected):
    data = write_pictures(tmp_path / 'data', pictures, len(names))
    config = write_own_config(tmp_path / 'mine.py', 'maskclip/maskclip_tiny.py', data, names, WORDS)
    assert run_tool('test', config) == 0
    log = log_of(tmp_path / 'mine_work')
    assert doubts(log) == expected
    if all(expected):
        assert (
            "mine learnt its words from captions of small drawn scenes, where 'zebra', 'road'"
            in log
        )
        assert f'3 of 3 images of the data set that were looked at, the first {data}' in log
        assert log.count('take configs/maskclip/maskclip_vit-b16_openai.py.') == 2
        assert log.count('never seen') == log.count('not look like') == 1


def test_a_trained_model_doubts_until_the_user_gives_weights(tmp_path):
    data = write_pictures(tmp_path / 'data', photos(1), len(CLASSES))
    base = 'denseclip/denseclip_fpn_tiny_scenes.py'
    config = write_own_config(tmp_path / 'mine.py', base, data, CLASSES)
    assert run_tool('test', config) == 0
    assert doubts(log_of(tmp_path / 'mine_work')) == (False, True)
    own = shutil.copy(WEIGHTS / 'denseclip_tiny_scenes.safetensors', tmp_path / 'own.safetensors')
    assert run_tool('test', config, own, '--work-dir', tmp_path / 'own') == 0
    assert doubts(log_of(tmp_path / 'own')) == (False, False)


@pytest.mark.parametrize(
    ('name', 'on'),
    [('maskclip-tiny', 'scenes_phrases'), ('denseclip/denseclip_fpn_tiny_scenes.py', None)],
)
def test_scenes_are_no_strangers(tmp_path, name, on):
    words = (name, *(('--on', on) if on else ()), '--work-dir', tmp_path)
    few = 'test_dataloader.dataset.num_scenes=2'
    assert run_tool('test', *words, '--cfg-options', few, 'test_dataloader.num_workers=0') == 0
    assert doubts(log_of(tmp_path)) == (False, False)
