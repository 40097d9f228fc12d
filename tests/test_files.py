"""Files appear whole or not at all."""

from __future__ import annotations

import os

import pytest

from ovseg import files
from ovseg.errors import UserError
from ovseg.files import check_folder, written_whole


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
