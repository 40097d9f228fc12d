"""Notices: whom they are shown to, how often, and that nothing in them steers a terminal."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from ovseg.errors import Notice, UserError, notify, printable, printable_line, run_cli


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('sky\x1b[31m\a', 'sky\\x1b[31m\\x07'),
        ('a\u202eb\x9b', 'a\\u202eb\\x9b'),
        ('\udcff', '\\udcff'),
        ('caf\xe9 北京 \U0001f468\u200d\U0001f469 می\u200cخواهم', None),
        ('one\ntwo', None),
        (Exception('a\rb'), 'a\\rb'),
    ],
)
def test_what_steers_a_terminal_is_escaped(text, shown):
    assert printable(text) == (text if shown is None else shown)


def test_names_and_cells_are_one_line():
    assert printable_line(Path('a b\n\x1b\u202e\u2028é.png')) == 'a b\\n\\x1b\\u202e\\u2028é.png'


def test_a_notice_points_at_the_callers_line():
    with pytest.warns(Notice, match='look there') as caught:
        notify('look there \x1b')
    assert caught[0].filename == __file__
    assert str(caught[0].message) == 'look there \\x1b'


def test_scripts_print_each_notice_once_and_leave_other_warnings_alone(capsys):
    def main() -> int:
        for _ in range(3):
            notify('sky is unknown')
        notify('sea is unknown')
        warnings.warn('of another library', UserWarning, stacklevel=1)
        return 1

    with pytest.warns(UserWarning, match='of another library') as caught:
        assert run_cli(main) == 1
    assert capsys.readouterr().err == 'warning: sky is unknown\nwarning: sea is unknown\n'
    assert [str(warning.message) for warning in caught] == ['of another library']


def test_errors_of_scripts_are_printable(capsys):
    def main() -> int:
        raise UserError('no file \x1b[2J.png')

    assert run_cli(main) == 2
    assert capsys.readouterr().err == 'error: no file \\x1b[2J.png\n'
