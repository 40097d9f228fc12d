"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ovseg import files
from ovseg.errors import UserError
from ovseg.files import (
    CannotWrite,
    changed_alone,
    check_folder,
    remove_dead_temporaries,
    write_beside,
    written_whole,
)


def test_a_file_appears_with_its_folder_and_ordinary_permissions(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'file.txt'
    with written_whole(path) as temporary:
        assert temporary.suffix == '.txt'
        temporary.write_text('all of it')
        assert not path.exists()
    assert path.read_text() == 'all of it'
    plain = tmp_path / 'plain.txt'
    plain.write_text('')
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize('failure', [KeyboardInterrupt, OSError])
def test_an_interruption_keeps_the_old_file_and_leaves_nothing_else(tmp_path, failure):
    path = tmp_path / 'file.txt'
    path.write_text('old')

    def write_half():
        with written_whole(path) as temporary:
            temporary.write_text('hal')
            raise failure

    with pytest.raises(failure):
        write_half()
    assert path.read_text() == 'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['file.txt']


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with (
        pytest.raises(UserError, match='Cannot write to the folder .*file'),
        written_whole(tmp_path / 'file' / 'below.txt'),
    ):
        pass


def test_a_folder_can_be_checked_without_making_it(tmp_path):
    check_folder(tmp_path / 'new' / 'folder')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is a file'):
        check_folder(tmp_path / 'file' / 'below')
    (tmp_path / 'link').symlink_to('nowhere')
    with pytest.raises(UserError, match='link is a link to nowhere, which is not there'):
        check_folder(tmp_path / 'link' / 'below')


@pytest.mark.parametrize(
    ('flags', 'reason'), [(os.ST_RDONLY, 'its disk is read-only'), (0, 'no permission')]
)
def test_a_folder_that_may_not_be_written_to_says_why(flags, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda *_: False)
    monkeypatch.setattr(os, 'statvfs', lambda _: SimpleNamespace(f_flag=flags))
    with pytest.raises(UserError, match=rf'new \({reason}\)'):
        check_folder(tmp_path / 'new')


@pytest.mark.parametrize('mask', [0o022, 0o077, 0o007])
def test_the_umask_is_followed_and_never_set(tmp_path, monkeypatch, mask):
    before = os.umask(mask)
    try:
        monkeypatch.setattr(os, 'umask', lambda value: pytest.fail(f'umask set to {value:o}'))
        with written_whole(tmp_path / 'file.txt') as temporary:
            temporary.write_text('text')
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / 'file.txt').stat().st_mode & 0o777 == 0o666 & ~mask


def test_where_the_kernel_tells_no_umask_that_of_the_start_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(files, '_told_umask', lambda: None)
    monkeypatch.setattr(files, '_UMASK_AT_START', 0o027)
    with written_whole(tmp_path / 'file.txt') as temporary:
        temporary.write_text('text')
    assert (tmp_path / 'file.txt').stat().st_mode & 0o777 == 0o640


def test_reading_the_umask_once_leaves_it():
    before = os.umask(0o031)
    try:
        assert files._exchanged_umask() == 0o031
        assert files._told_umask() in (0o031, None)
    finally:
        os.umask(before)


# What the system says to writers, in a process with a limit on file sizes --------------------

LIMITED = """
import resource, sys
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from ovseg.files import written_whole, CannotWrite
try:
    with written_whole('out.bin') as temporary:
        {writer}
except CannotWrite as error:
    print(error, error.ends_run)
"""
WRITERS = {
    'bytes': 'temporary.write_bytes(bytes(50000))',
    'numpy': "file = temporary.open('wb'); np.save(file, np.zeros(50000)); file.close()",
    'torch': 'import torch; torch.save(torch.zeros(50000), temporary)',
    'pillow': (
        'from PIL import Image; noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)); '
        "Image.fromarray(noise.astype('uint8')).save(temporary, format='PNG')"
    ),
}


@pytest.mark.parametrize('writer', WRITERS)
def test_a_file_beyond_the_limit_is_one_sentence_and_leaves_nothing(tmp_path, writer):
    (tmp_path / 'out.bin').write_text('old')
    done = subprocess.run(
        [sys.executable, '-c', LIMITED.format(writer=WRITERS[writer])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == (
        'Cannot write out.bin (File too large): raise the limit on file sizes (ulimit -f), or '
        'choose another disk. False\n'
    ), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['out.bin']
    assert (tmp_path / 'out.bin').read_text() == 'old'


@pytest.mark.parametrize(
    ('code', 'message', 'ends_run'),
    [
        (errno.ENOSPC, 'No space left on device.: make room, or choose another folder', True),
        (errno.EDQUOT, 'exceeded.: make room', True),
        (errno.EROFS, 'Cannot write to the folder .*Read-only file system.: choose another', True),
        (errno.EACCES, 'Cannot write to the folder .*Permission denied.: choose another', False),
        (errno.EIO, 'Cannot write to the folder .*Input/output error', False),
    ],
)
def test_each_reason_has_its_remedy(tmp_path, code, message, ends_run):
    with (
        pytest.raises(CannotWrite, match=message) as caught,
        written_whole(tmp_path / 'a.txt'),
    ):
        raise OSError(code, os.strerror(code))
    assert caught.value.ends_run is ends_run and caught.value.errno == code
    assert not list(tmp_path.iterdir())


def test_errors_of_reading_and_networks_stay_what_they_are(tmp_path):
    for error in (FileNotFoundError(2, 'gone'), ConnectionResetError(104, 'reset'), RuntimeError()):
        with pytest.raises(type(error)) as caught, written_whole(tmp_path / 'a.txt'):
            raise error
        assert caught.value is error


def test_names_that_cannot_be_are_said(tmp_path):
    with (
        pytest.raises(UserError, match=r'File name too long.: choose a shorter name'),
        written_whole(tmp_path / ('n' * 300 + '.txt')) as temporary,
    ):
        temporary.write_text('')
    (tmp_path / 'folder').mkdir()
    with (
        pytest.raises(UserError, match='there is a folder of this name'),
        written_whole(tmp_path / 'folder') as temporary,
    ):
        temporary.write_text('')
    assert [path.name for path in tmp_path.iterdir()] == ['folder']


def test_writing_beside_keeps_what_is_there(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: write_beside(tmp_path / 'r.json', str(i)), range(20)))
    assert sorted(path.read_text() for path in paths) == sorted(map(str, range(20)))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'r.json', *(f'r_{number}.json' for number in range(2, 21))}


def test_writing_beside_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refuse)
    for content in 'ab':
        write_beside(tmp_path / 'r.json', content)
    assert (tmp_path / 'r.json').read_text() + (tmp_path / 'r_2.json').read_text() == 'ab'
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_writer_left_is_removed_and_a_living_one_stays(tmp_path):
    dead, young, other = (
        tmp_path / name
        for name in ('.writing-abcd1234.png', '.writing-abcd1235.png', '.writing-mine.png')
    )
    for path in (dead, young, other):
        path.write_bytes(b'half')
    for path in (dead, other):
        os.utime(path, (1, 1))
    with written_whole(tmp_path / 'a.png') as living:
        os.utime(living, (1, 1))
        assert remove_dead_temporaries(tmp_path) == 1
        assert living.exists() and not dead.exists() and young.exists() and other.exists()
    assert remove_dead_temporaries(tmp_path / 'nowhere') == 0


def test_who_changes_a_file_waits_for_the_others(tmp_path):
    path = tmp_path / 'new' / 'count.txt'

    def add_one(_):
        with changed_alone(path):
            before = int(path.read_text()) if path.exists() else 0
            time.sleep(0.005)
            path.write_text(str(before + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(24)))
    assert path.read_text() == '24' and os.listdir(path.parent) == ['count.txt']
