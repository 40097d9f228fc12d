"""What tools/test.py saves: folders are kept, nothing is replaced, what cannot be saved is said."""

from __future__ import annotations

import errno
import os
import re
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_world import write_config, write_data
from tool_runs import run_tool

from ovseg.result_files import is_result


@pytest.fixture
def data(tmp_path):
    """Images of one name in two folders."""
    root = write_data(tmp_path / 'data', 4)
    for kind in ('images', 'labels'):
        for folder, (first, second) in {'a': '01', 'b/c': '23'}.items():
            (root / kind / folder).mkdir(parents=True)
            (root / kind / f'{first}.png').rename(root / kind / folder / 'x.png')
            (root / kind / f'{second}.png').rename(root / kind / folder / 'y.png')
    return root


@pytest.fixture
def config(tmp_path, data):
    return write_config(tmp_path / 'colors.py', data, tmp_path / 'work')


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))


def test_folders_are_kept_and_the_truth_stands_beside(config, data, tmp_path):
    out, shown = tmp_path / 'out', tmp_path / 'shown'
    assert run_tool('test', config, '--out', out, '--show-dir', shown) == 0
    names = ['a/x.png', 'a/y.png', 'b/c/x.png', 'b/c/y.png']
    assert below(out) == below(shown) == names
    for name in names:
        labels = cv2.imread(str(data / 'labels' / name), cv2.IMREAD_UNCHANGED)
        predicted = np.asarray(Image.open(out / name))
        # Each is the prediction of its own image.
        assert (predicted == labels)[labels != 255].mean() > 0.6
        assert is_result(out / name) and is_result(shown / name)
        with Image.open(shown / name) as picture:
            assert picture.width > 2 * 480


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--out', '{data}/images'], '--out .* is a folder of the data set'),
        (['--show-dir', '{data}/labels/.'], '--show-dir .* is a folder of the data set'),
        (['--out', '{tmp}/o', '--show-dir', '{tmp}/o/.'], 'are the same folder'),
        (['--out', '{tmp}/colors.py'], 'Cannot write to the folder .*colors.py is a file'),
    ],
)
def test_what_would_be_replaced_is_refused_before_the_first_image(
    config, data, tmp_path, capsys, words, message
):
    before = {path: path.read_bytes() for path in data.rglob('*.png')}
    filled = [word.format(data=data, tmp=tmp_path) for word in words]
    assert run_tool('test', config, *filled) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error), error
    assert {path: path.read_bytes() for path in data.rglob('*.png')} == before
    assert not list(tmp_path.rglob('result.json'))


def test_mmsegs_metric_keeps_no_folders_and_says_so_first(config, tmp_path, capsys):
    options = ('--cfg-options', 'test_evaluator.type=IoUMetric')
    assert run_tool('test', config, '--out', tmp_path / 'out', *options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'would be saved under one name, and what saves them keeps no folders' in error


def test_tests_of_one_second_keep_all_their_results(config, tmp_path, monkeypatch):
    monkeypatch.setattr(time, 'strftime', lambda *_: '20260101_000000')
    for _ in range(3):
        assert run_tool('test', config) == 0
    results = sorted(
        path.relative_to(tmp_path / 'work').as_posix()
        for path in (tmp_path / 'work').rglob('result.json')
    )
    assert results == [f'20260101_000000{end}/result.json' for end in ('', '_2', '_3')]
    for path in results:
        assert list((tmp_path / 'work' / path).parent.glob('*.log'))


def test_a_disk_that_takes_no_more_is_one_sentence(config, tmp_path, capsys, monkeypatch):
    save = Image.Image.save
    written = []

    def save_two(self, path, *args, **settings):
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, path, *args, **settings)

    monkeypatch.setattr(Image.Image, 'save', save_two)
    for option in ('--out', '--show-dir'):
        written.clear()
        folder = tmp_path / option.strip('-')
        assert run_tool('test', config, option, folder) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith('error: Cannot write ') and 'make room' in error
        assert len(below(folder)) == 2 and not list(folder.rglob('.writing*'))


def test_a_training_whose_validations_save_label_maps_keeps_folders_too(data, tmp_path, capsys):
    """Flat names would end it at its first validation, as two images are called x.png."""
    config = write_config(tmp_path / 'linear.py', data, tmp_path / 'work', True, True)
    with config.open('a', encoding='utf-8') as file:
        file.write("val_evaluator = dict(type='OVIoUMetric', output_dir='OUT')\n")
    out = tmp_path / 'out'
    config.write_text(config.read_text().replace('OUT', str(out)), encoding='utf-8')
    assert run_tool('train', config, '--cfg-options', 'train_cfg.max_iters=2') == 0
    assert below(out) == ['a/x.png', 'a/y.png', 'b/c/x.png', 'b/c/y.png']
    place = f'val_evaluator.output_dir={data / "images"}'
    words = ('--work-dir', tmp_path / 'again', '--cfg-options', 'train_cfg.max_iters=2', place)
    assert run_tool('train', config, *words) == 2
    assert 'is a folder of the data set' in capsys.readouterr().err
