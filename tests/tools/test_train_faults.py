"""What ends a training, what it leaves behind, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT
from tiny_world import write_config, write_data
from tool_runs import check_equal, free_port, run_tool, same
from warm_processes import run_ranks, run_warm

from ovseg.engine import finite, read_checkpoint
from ovseg.engine.runner import OVRunner
from ovseg.engine.work_folder import held_folder
from ovseg.errors import UserError


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('tiny') / 'data', 5)


@pytest.fixture
def config(tmp_path, data):
    return write_config(tmp_path / 'linear.py', data, tmp_path / 'work', trains=True)


@pytest.fixture
def validating(tmp_path, data):
    return write_config(tmp_path / 'val.py', data, tmp_path / 'work', trains=True, validates=True)


def last_line(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


@contextmanager
def held_elsewhere(folder):
    """Another thread trains in the folder."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with held_folder(folder):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    yield
    done.set()
    thread.join()


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


def test_a_training_that_diverges_stops_and_keeps_its_last_good_state(config, tmp_path, capsys):
    bad = '"[3,4,5,6]"'
    assert run_tool('train', config, '--cfg-options', f'model.bad_steps={bad}') == 2
    error = last_line(capsys)
    assert error.startswith('error: the training diverged') and 'at iteration 5' in error
    for name in names(tmp_path / 'work'):
        assert finite.first_non_finite(read_checkpoint(tmp_path / 'work' / name)) is None
    assert run_tool('train', config, '--resume') == 0
    assert read_checkpoint(tmp_path / 'work' / 'iter_6.pth')['meta']['iter'] == 6


def test_a_bad_step_leaves_the_weights_alone(config, tmp_path):
    words = ('model.bad_steps="[4]"', 'default_hooks.checkpoint.max_keep_ckpts=9')
    assert run_tool('train', config, '--cfg-options', *words) == 0
    three, four, five = (
        read_checkpoint(tmp_path / 'work' / f'iter_{step}.pth')['state_dict'] for step in (3, 4, 5)
    )
    assert same(three, four) and not same(four, five)


def test_how_many_bad_steps_end_a_training_is_a_setting(config, capsys):
    words = ('model.bad_steps="[2]"', 'default_hooks.finite.max_bad_steps=1')
    assert run_tool('train', config, '--cfg-options', *words) == 2
    assert 'at iteration 2' in last_line(capsys)


def test_a_state_with_nan_is_never_saved(config, tmp_path, capsys, monkeypatch):
    from tiny_world import LinearSegmentor

    forward = LinearSegmentor.loss

    def spoil(self, inputs, data_samples):
        if self.steps == 3:
            self.head.bias.data[0] = float('inf')
        return forward(self, inputs.detach(), data_samples)

    monkeypatch.setattr(LinearSegmentor, 'loss', spoil)
    assert run_tool('train', config) == 2
    assert "NaN or infinite values in 'state_dict.head.bias'" in last_line(capsys)
    assert names(tmp_path / 'work') == ['iter_1.pth', 'iter_2.pth', 'iter_3.pth']


def test_kill_while_a_checkpoint_is_written(validating, tmp_path):
    script = Path(__file__).with_name('kill_trainings.py')
    done = run_warm(script, validating, tmp_path / 'killed')
    assert done.returncode == 0, done.stderr[-3000:]
    reports = json.loads(done.stdout.strip().splitlines()[-1])
    assert reports.pop('whole') == {'end': 0}
    expected = read_checkpoint(tmp_path / 'killed' / 'whole' / 'iter_6.pth')
    assert len(reports) == 4
    for name, report in reports.items():
        assert report['killed'] == -signal.SIGKILL, name
        assert any(left.startswith('iter_') for left in report['left']), name
        assert any(left.startswith('best_') for left in report['left']), name
        assert report['end'] == 0 and report['tidy'], name
        folder = tmp_path / 'killed' / name
        assert [left for left in names(folder) if left.startswith('iter_')] == ['iter_6.pth'], name
        found = read_checkpoint(folder / 'iter_6.pth')
        check_equal(found['state_dict'], expected['state_dict'])
        check_equal(found['optimizer'], expected['optimizer'])


def test_a_copied_training_leaves_the_first_one_alone(validating, tmp_path):
    first, copy = tmp_path / 'first', tmp_path / 'copy'
    short = ('--cfg-options', 'train_cfg.max_iters=2')
    assert run_tool('train', validating, '--work-dir', first, *short) == 0
    before = names(first)
    assert len(before) == 2
    shutil.copytree(first, copy)
    assert run_tool('train', validating, '--work-dir', copy, '--resume') == 0
    assert (
        run_tool(
            'train', validating, '--work-dir', tmp_path / 'other', '--resume', first / 'iter_2.pth'
        )
        == 0
    )
    assert names(first) == before
    assert len(names(copy)) == 2  # one last, one best


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_saves_and_ends(config, tmp_path, number):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    rare = ('--cfg-options', 'default_hooks.checkpoint.interval=100')
    assert run_tool('train', config, '--work-dir', whole, *rare) == 0
    words = (*rare, f'model.at_step="[3,{int(number)}]"')
    before = signal.signal(number, signal.SIG_DFL)  # a test run under nohup ignores SIGHUP
    try:
        assert run_tool('train', config, '--work-dir', parts, *words) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert names(parts) == ['iter_3.pth']
    assert run_tool('train', config, '--work-dir', parts, *rare, '--resume') == 0
    found, expected = (read_checkpoint(folder / 'iter_6.pth') for folder in (parts, whole))
    check_equal(found['state_dict'], expected['state_dict'])


@pytest.mark.parametrize('number, group', [(signal.SIGTERM, ',group'), (signal.SIGUSR1, '')])
def test_a_signal_ends_a_training_whose_loader_has_processes(config, tmp_path, number, group):
    words = (
        '--cfg-options',
        f'model.at_step="[3,{int(number)}{group}]"',
        'train_dataloader.num_workers=2',
        'train_dataloader.persistent_workers=True',
    )
    done = run_warm(ROOT / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'parts', *words)
    assert done.returncode == 128 + number, done.stderr[-2000:]
    assert 'iter_3.pth' in names(tmp_path / 'parts')


def test_a_signal_within_an_epoch(config, tmp_path):
    with open(config, 'a', encoding='utf-8') as file:
        file.write(
            "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)\n"
            'default_hooks.update(checkpoint=dict(interval=1, by_epoch=True))\n'
            "train_dataloader.update(sampler=dict(type='DefaultSampler', shuffle=True))\n"
        )
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert run_tool('train', config, '--work-dir', whole) == 0
    words = ('--cfg-options', f'model.at_step="[5,{int(signal.SIGTERM)}]"')
    assert run_tool('train', config, '--work-dir', parts, *words) == 143
    assert names(parts) == ['epoch_1.pth', 'epoch_1_iter_5.pth']
    assert run_tool('train', config, '--work-dir', parts, '--resume') == 0
    assert names(parts) == ['epoch_1.pth', 'epoch_2.pth']
    found, expected = (read_checkpoint(folder / 'epoch_2.pth') for folder in (parts, whole))
    check_equal(found['state_dict'], expected['state_dict'])
    assert found['meta']['iter'] == expected['meta']['iter'] == 6


def test_a_full_disk_is_one_sentence(config, tmp_path, capsys, monkeypatch):
    from mmengine.fileio.backends import LocalBackend

    put = LocalBackend.put

    def full(self, content, path):
        if '4' in Path(tmp_path / 'work' / 'last_checkpoint').read_text()[-8:]:
            Path(path).write_bytes(bytes(content)[:100])
            raise OSError(28, 'No space left on device')
        put(self, content, path)

    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'last_checkpoint').write_text('')
    monkeypatch.setattr(LocalBackend, 'put', full)
    assert run_tool('train', config) == 2
    error = last_line(capsys)
    assert 'iter_5.pth cannot be written (No space left on device)' in error
    left = sorted(path.name for path in (tmp_path / 'work').iterdir() if path.is_file())
    assert [name for name in left if name.endswith('.pth')] == [
        'iter_2.pth',
        'iter_3.pth',
        'iter_4.pth',
    ]
    assert not [name for name in left if name.startswith('.')]


def test_a_folder_that_cannot_be_written_to(config, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert run_tool('train', config, '--work-dir', tmp_path / 'file' / 'work') == 2
    assert 'Cannot write to the folder ' in last_line(capsys)


def test_bad_pictures_are_told_or_passed_over(config, data, tmp_path, capsys):
    bad = shutil.copytree(data, tmp_path / 'bad')
    (bad / 'images' / '1.png').write_bytes(b'')
    (bad / 'images' / '2.png').write_bytes(b'cut off')
    root = f'train_dataloader.dataset.data_root={bad}'
    assert run_tool('train', config, '--cfg-options', root) == 2
    assert ' is an empty file' in last_line(capsys)
    skip = 'train_dataloader.max_bad_samples='
    assert run_tool('train', config, '--cfg-options', root, f'{skip}1') == 2
    assert '2 samples cannot be read, 1 may be passed over' in last_line(capsys)
    assert run_tool('train', config, '--cfg-options', root, f'{skip}2') == 0
    workers = ('train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=True')
    assert run_tool('train', config, '--cfg-options', root, f'{skip}2', *workers) == 0


def test_a_loader_without_processes_keeps_none(config):
    words = ('train_dataloader.persistent_workers=True', 'train_dataloader.prefetch_factor=2')
    assert run_tool('train', config, '--cfg-options', *words) == 0


def test_labels_without_any_class_end_it(config, data, tmp_path, capsys):
    empty = shutil.copytree(data, tmp_path / 'empty')
    for path in (empty / 'labels').iterdir():
        cv2.imwrite(str(path), np.full((24, 32), 255, np.uint8))
    root = f'dataset.data_root={empty}'
    assert run_tool('train', config, '--cfg-options', f'train_dataloader.{root}') == 2
    error = last_line(capsys)
    assert 'none of the classes has a pixel in the 5 label maps of train_dataloader' in error
    assert 'the values 255,' in error and 'label_values' in error
    colors = write_config(tmp_path / 'colors.py', empty, tmp_path / 'work')
    assert run_tool('test', colors) == 2
    assert 'label maps of test_dataloader' in last_line(capsys)


def test_several_processes_go_on_with_their_own_random_states(config, tmp_path):
    whole, rest = tmp_path / 'whole', tmp_path / 'rest'
    options = ['--cfg-options', 'randomness.diff_rank_seed=True']
    options += ['default_hooks.checkpoint.max_keep_ckpts=-1']
    for folder, words in (
        (whole, options),
        (rest, ['--resume', whole / 'iter_3.pth', *options]),
    ):
        train = (ROOT / 'tools' / 'train.py', 2, config, '--work-dir', folder, *words)
        for done in run_ranks(*train, port=free_port()):
            assert done.returncode == 0, done.stderr[-3000:]
    assert names(rest) == ['iter_4.pth', 'iter_5.pth', 'iter_6.pth']
    found, expected = (read_checkpoint(folder / 'iter_6.pth') for folder in (rest, whole))
    check_equal(found['state_dict'], expected['state_dict'])


def test_the_second_training_in_a_folder_is_refused(config, tmp_path, capsys):
    with held_elsewhere(tmp_path / 'work'):
        assert run_tool('train', config) == 2
    assert f'process {os.getpid()} on ' in last_line(capsys)
    assert run_tool('train', config) == 0
    assert not list((tmp_path / 'work').glob('.*'))


def test_a_training_in_python_holds_its_folder_too(config, tmp_path):
    settings = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('ovseg'):
        runner = OVRunner.from_cfg(settings)
        with (
            held_elsewhere(tmp_path / 'work'),
            pytest.raises(UserError, match='a training runs in'),
        ):
            runner.train()
        elsewhere = tmp_path / 'big' / 'work'
        settings.default_hooks.checkpoint.out_dir = str(tmp_path / 'big')
        settings.experiment_name = 'elsewhere'
        runner = OVRunner.from_cfg(settings)
        with held_elsewhere(elsewhere), pytest.raises(UserError, match='big/work'):
            runner.train()
        runner.train()
    assert names(elsewhere) and not list(elsewhere.glob('.*'))
    settings.experiment_name, settings.resume = 'resumed', True
    settings.train_cfg.max_iters = 7
    with DefaultScope.overwrite_default_scope('ovseg'):
        runner = OVRunner.from_cfg(settings)
        runner.train()
    assert runner.iter == 7 and runner.model.steps == 1


def test_an_optimizer_state_of_nan_is_not_gone_on_with(config, tmp_path, capsys):
    assert run_tool('train', config, '--cfg-options', 'train_cfg.max_iters=1') == 0
    path = tmp_path / 'work' / 'iter_1.pth'
    content = torch.load(path, weights_only=False)
    content['optimizer']['state'][0]['momentum_buffer'][0] = float('nan')
    torch.save(content, path)
    assert run_tool('train', config, '--resume', path) == 2
    assert "NaN or infinite values in 'optimizer.state.0.momentum_buffer'" in last_line(capsys)


def test_the_state_of_another_optimizer_is_one_sentence(config, capsys):
    assert run_tool('train', config, '--cfg-options', 'train_cfg.max_iters=1') == 0
    other = 'optim_wrapper.paramwise_cfg.bias_lr_mult=2'
    assert run_tool('train', config, '--resume', '--cfg-options', other) == 2
    assert 'does not fit this training' in last_line(capsys)


def test_a_weight_file_that_is_not_there_is_said_before_anything_is_built(
    config, tmp_path, capsys, monkeypatch
):
    from tiny_world import LinearSegmentor

    monkeypatch.setattr(LinearSegmentor, '__init__', lambda *_, **__: pytest.fail('it was built'))
    missing = tmp_path / 'weights.pth'
    (tmp_path / 'weights.d').mkdir()
    assert run_tool('train', config, '--cfg-options', f'load_from={missing}') == 2
    error = last_line(capsys)
    assert f'weight file {missing} does not exist' in error and 'Did you mean' not in error
    settings = f'model.init_cfg.checkpoint={missing}'
    assert run_tool('train', config, '--cfg-options', settings) == 2
    assert last_line(capsys).startswith(f'error: model.init_cfg.checkpoint: weight file {missing}')


def test_a_limit_of_file_sizes_is_one_sentence(config, tmp_path):
    script = tmp_path / 'limited.py'
    script.write_text(
        'import os, resource, runpy\n'
        'os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a file here, and the words are long\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024,) * 2)\n'
        f'runpy.run_path({str(ROOT / "tools" / "train.py")!r}, run_name="__main__")\n'
    )
    done = run_warm(script, config)
    assert done.returncode == 2, done.stderr[-2000:]
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith('error: ') and 'cannot be written' in error
    assert not [path for path in (tmp_path / 'work').rglob('.*')]


def test_weights_with_a_flipped_bit_are_refused(config, tmp_path, capsys):
    short = ('--cfg-options', 'train_cfg.max_iters=1')
    assert run_tool('train', config, *short) == 0
    path = tmp_path / 'work' / 'iter_1.pth'
    weights = read_checkpoint(path)['state_dict']['head.bias'].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weights) + 3] ^= 0x40
    path.write_bytes(content)
    assert torch.load(path, weights_only=False)  # torch does not notice
    assert run_tool('train', config, '--resume', path) == 2
    assert 'Bad CRC-32' in last_line(capsys)


@pytest.mark.parametrize('way', ['copied', 'from a file'])
def test_nothing_outside_the_work_folder_is_deleted(tmp_path, data, way):
    first, second = tmp_path / 'first', tmp_path / 'second'
    config = write_config(tmp_path / 'mine.py', data, first, trains=True, validates=True)
    assert run_tool('train', config, '--cfg-options', 'train_cfg.max_iters=2') == 0
    before = {path.name: path.read_bytes() for path in first.glob('*.pth')}
    assert any(name.startswith('best_') for name in before)
    if way == 'copied':
        shutil.copytree(first, second)
        resume = ['--resume']
    else:
        resume = ['--resume', first / 'iter_2.pth']
    # A better score each time, so that best checkpoints take turns.
    longer = ('--cfg-options', 'train_cfg.max_iters=6', 'optim_wrapper.optimizer.lr=0.1')
    assert run_tool('train', config, *resume, '--work-dir', second, *longer) == 0
    assert {path.name: path.read_bytes() for path in first.glob('*.pth')} == before
    assert (second / 'iter_6.pth').is_file()
