"""What a long loop says of itself, to a terminal and to a log."""

from __future__ import annotations

import io
import sys

import pytest

from ovseg.progress import with_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ('stream', 'every', 'says'),
    [
        (Terminal(), 0, ['scenes: 100%', '2/2', 'image/s']),
        (io.StringIO(), 0, ['scenes: 1 of 2 images, 0 s, ', ' images/s, 0 s left\n']),
        (io.StringIO(), 60, None),
    ],
    ids=['terminal', 'log', 'short run'],
)
def test_a_terminal_has_a_bar_and_a_log_has_lines(stream, every, says, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', stream)
    assert list(with_progress('ab', 2, 'image', 'scenes', every)) == ['a', 'b']
    said = stream.getvalue()
    assert all(part in said for part in says) if says else not said
    assert ('\r' in said) == stream.isatty()


@pytest.mark.parametrize('stream', [None, Terminal()], ids=['closed', 'terminal'])
def test_nothing_is_said_of_nothing_or_to_nobody(stream, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'stderr', stream)
    assert list(with_progress('ab' if stream is None else '', 0, 'image', every=0)) == (
        ['a', 'b'] if stream is None else []
    )
    assert capsys.readouterr().out == '' and (stream is None or not stream.getvalue())
