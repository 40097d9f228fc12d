from __future__ import annotations

import os

import pytest
import torch
from mmengine.config import Config

from ovseg.engine import latest_checkpoint
from ovseg.engine.resuming import checkpoint_folder
from ovseg.errors import UserError


def save(path, step=1, value=1.0):
    state = {'weight': torch.full((64,), value)}
    torch.save({'state_dict': state, 'meta': {'iter': step}, 'message_hub': {}}, path)
    os.utime(path, (step, step))  # written one after another
    return path


@pytest.fixture
def folder(tmp_path):
    for step in (2, 4, 10):
        save(tmp_path / f'iter_{step}.pth', step)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    save(tmp_path / 'best_mIoU_iter_10.pth', 10)
    return tmp_path


def newest(folder):
    said = []
    return latest_checkpoint(folder, said.append).name, ' '.join(said)


def test_the_highest_step_is_the_newest(folder):
    assert newest(folder) == ('iter_10.pth', '')
    assert latest_checkpoint(folder / 'new') is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(path):
    path.write_bytes(b'')


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(8).numpy().tobytes()) + 3] ^= 0x40
    path.write_bytes(content)


def hang(path):
    path.unlink()
    os.mkfifo(path)


def diverge(path):
    save(path, 10, float('nan'))


def strip(path):
    torch.save({'state_dict': {'weight': torch.ones(3)}}, path)


def garble(**changes):
    def harm(path):
        torch.save({**torch.load(path), **changes}, path)

    return harm


@pytest.mark.parametrize(
    'harm, reason',
    [
        (garble(meta=5), 'does not say in which iteration'),
        (garble(meta={'iter': '10'}), 'does not say in which iteration'),
        (garble(message_hub=[1]), 'has no records of a training'),
        (garble(optimizer={'state': {0: torch.tensor(float('inf'))}}), "in 'optimizer.state.0'"),
        (garble(ema_state_dict={'a': torch.tensor(float('nan'))}), "in 'ema_state_dict.a'"),
        (cut, 'it is damaged'),
        (empty, 'is empty'),
        (flip, 'CRC-32'),
        (hang, 'is no regular file'),
        (diverge, "NaN or infinite values in 'state_dict.weight'"),
        (strip, "has no 'meta' of a training"),
    ],
)
def test_a_damaged_one_is_passed_over_and_said(folder, harm, reason):
    harm(folder / 'iter_10.pth')
    name, said = newest(folder)
    assert name == 'iter_4.pth' and 'iter_10.pth' in said and reason in said


@pytest.mark.parametrize(
    'record',
    [b'', b'\xff\x00\x80', b'a\nb', b'/elsewhere/iter_2.pth', b'iter_99.pth', b'iter_2.pth'],
)
def test_the_record_is_not_believed(folder, record):
    (folder / 'last_checkpoint').write_bytes(record)
    assert newest(folder)[0] == 'iter_10.pth'


def test_a_record_of_another_folder_is_said(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    save(other / 'iter_12.pth', 12)
    (folder / 'last_checkpoint').write_text(str(other / 'iter_12.pth'))
    name, said = newest(folder)
    assert name == 'iter_10.pth' and 'is not in this folder' in said


def test_checkpoints_of_an_earlier_training_come_last(folder):
    os.utime(folder / 'iter_2.pth', (50, 50))
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    assert newest(folder)[0] == 'iter_2.pth'
    empty(folder / 'iter_2.pth')
    assert newest(folder)[0] == 'iter_10.pth'


def test_a_stop_within_an_epoch_comes_between_epochs(tmp_path):
    for name in ('epoch_1', 'epoch_1_iter_5', 'epoch_2'):
        save(tmp_path / f'{name}.pth')
    assert newest(tmp_path)[0] == 'epoch_2.pth'
    (tmp_path / 'epoch_2.pth').unlink()
    assert newest(tmp_path)[0] == 'epoch_1_iter_5.pth'


def test_without_an_intact_one_nothing_starts_from_zero(folder):
    for path in folder.glob('iter_*.pth'):
        empty(path)
    with pytest.raises(UserError, match=r'no checkpoint in .* is intact \(iter_10.pth is empty;'):
        newest(folder)
    for path in folder.glob('iter_*.pth'):
        path.unlink()
    with pytest.raises(UserError, match='names iter_10.pth, but there is no checkpoint'):
        newest(folder)


def test_checkpoints_may_lie_elsewhere(tmp_path):
    config = Config({'work_dir': 'runs/a', 'default_hooks': {'checkpoint': {'out_dir': '/big'}}})
    assert str(checkpoint_folder(config)) == '/big/a'
    assert str(checkpoint_folder(Config({'work_dir': 'runs/a'}))) == 'runs/a'
