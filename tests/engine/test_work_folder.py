from __future__ import annotations

import multiprocessing
import os
import signal
import socket

import pytest

from ovseg.engine.work_folder import LOCK, held_folder
from ovseg.errors import UserError


def hold(folder, pipe):
    with held_folder(folder):
        pipe.send('held')
        pipe.recv()


@pytest.fixture
def holder(tmp_path):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context('fork').Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == 'held'
    yield process
    process.kill()
    process.join()


def test_a_second_one_is_refused_while_the_first_lives(tmp_path, holder):
    with pytest.raises(UserError, match=f'process {holder.pid} on {socket.gethostname()}'):
        held_folder(tmp_path).__enter__()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (tmp_path / LOCK).exists()
    with held_folder(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


def test_a_silent_holder_elsewhere_is_taken_over(tmp_path):
    (tmp_path / LOCK).write_text('elsewhere 12\n')
    with held_folder(tmp_path, watch=0.01):
        pass


def test_a_living_holder_elsewhere_is_respected(tmp_path, monkeypatch):
    (tmp_path / LOCK).write_text('elsewhere 12\n')
    monkeypatch.setattr('time.sleep', lambda seconds: os.utime(tmp_path / LOCK, (9, 9)))
    with pytest.raises(UserError, match='process 12 on elsewhere'):
        held_folder(tmp_path, watch=0.01).__enter__()


def test_links_are_not_followed_and_dead_files_go(tmp_path):
    foreign, work = tmp_path / 'foreign', tmp_path / 'work'
    foreign.write_text('mine')
    work.mkdir()
    (work / '.writing-iter_5.pth').symlink_to(foreign)
    (work / '.writing-abcd_123').touch()
    (work / '.writing-notes.txt').touch()
    with held_folder(work):
        pass
    assert [path.name for path in work.iterdir()] == ['.writing-notes.txt']
    (work / LOCK).symlink_to(foreign)
    with pytest.raises(UserError, match='cannot train in the folder'):
        held_folder(work).__enter__()
    assert foreign.read_text() == 'mine'
