"""Files below a folder: links, circles, pipes and hidden files, by one rule."""

from __future__ import annotations

import os
import socket

import pytest

from ovseg.errors import UserError
from ovseg.folders import matching_files, walk_files


def below(folder, **settings):
    return sorted(path.relative_to(folder).as_posix() for path in walk_files(folder, **settings))


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'x')
    return path


def test_two_links_to_a_parent_end(tmp_path):
    touch(tmp_path / 'a' / 'b' / '1.png')
    for name in ('up', 'again'):
        (tmp_path / 'a' / 'b' / name).symlink_to(tmp_path)
    (tmp_path / 'itself').symlink_to(tmp_path / 'itself')
    assert below(tmp_path) == ['a/b/1.png']
    assert [path.name for path in matching_files(str(tmp_path / '**' / '*.png'))] == ['1.png']


def test_linked_folders_and_files_count_and_a_folder_goes_by_its_own_place(tmp_path):
    outside = touch(tmp_path / 'elsewhere' / '2.png').parent
    root = touch(tmp_path / 'root' / 'z' / '1.png').parents[1]
    (root / 'a_link_to_z').symlink_to(root / 'z')
    (root / 'linked').symlink_to(outside)
    (root / 'file.png').symlink_to(outside / '2.png')
    assert below(root) == ['file.png', 'linked/2.png', 'z/1.png']


def test_only_regular_files_that_are_not_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / '1.png')
    touch(tmp_path / '.hidden.png')
    touch(tmp_path / '.thumbs' / '2.png')
    os.mkfifo('pipe.png')
    (tmp_path / 'device.png').symlink_to('/dev/null')
    (tmp_path / 'gone.png').symlink_to('nowhere')
    with socket.socket(socket.AF_UNIX) as door:
        door.bind('door.png')
        assert below(tmp_path) == ['1.png']
        assert below(tmp_path, hidden=True) == ['.hidden.png', '.thumbs/2.png', '1.png']


@pytest.mark.parametrize(
    ('pattern', 'names'),
    [
        ('*.png', ['1.png']),
        ('*/*.png', ['a/2.png']),
        ('**/*.png', ['1.png', 'a/2.png', 'a/b/3.png']),
        ('a/**', ['a/2.png', 'a/b/3.png', 'a/b/notes.txt']),
        ('**/b/*', ['a/b/3.png', 'a/b/notes.txt']),
        ('**/**/[23].png', ['a/2.png', 'a/b/3.png']),
        ('**/.h/*.png', ['a/.h/4.png']),
        ('no/**/*.png', []),
    ],
)
def test_patterns_match_as_in_a_shell(tmp_path, monkeypatch, pattern, names):
    for name in ('1.png', 'a/2.png', 'a/b/3.png', 'a/b/notes.txt', 'a/.h/4.png'):
        touch(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [path.as_posix() for path in matching_files(pattern)] == names
    absolute = matching_files(str(tmp_path / pattern))
    assert [path.relative_to(tmp_path).as_posix() for path in absolute] == names


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    touch(tmp_path / 'a' / '1.png')
    touch(tmp_path / 'locked' / '2.png')
    scan = os.scandir

    def guarded(place):
        if str(place).endswith('locked'):
            raise PermissionError(13, 'Permission denied', place)
        return scan(place)

    # Not by its permissions: root may read all.
    monkeypatch.setattr(os, 'scandir', guarded)
    with pytest.raises(UserError, match=r'locked cannot be read \(Permission denied\)'):
        below(tmp_path)
    told = []
    assert below(tmp_path, unreadable=lambda place, error: told.append(place)) == ['a/1.png']
    assert told == [str(tmp_path / 'locked')]
