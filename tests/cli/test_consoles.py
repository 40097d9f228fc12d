"""Consoles that lack letters, readers that go away, and disks that are full."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from scripts import ROOT

SAY = """
import sys
from ovseg.errors import run_cli

def main():
    for number in range({lines}):
        print('{word}', number)
    sys.stdout.flush()
    print('done', file=sys.stderr)
    return {code}

sys.exit(run_cli(main))
"""


def start(word='sky', lines=1, code=0, **environment):
    """A process that prints a word so many times and leaves by ``run_cli``."""
    return subprocess.Popen(
        [sys.executable, '-c', SAY.format(word=word, lines=lines, code=code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(ROOT), **environment},
    )


@pytest.mark.parametrize('encoding', ['cp1252', 'ascii', 'latin-1'])
def test_letters_that_a_console_lacks_become_their_numbers(encoding):
    process = start('caf\u00e9 \u8349 \U0001f600', PYTHONIOENCODING=encoding)
    out, err = process.communicate()
    assert process.returncode == 0 and err.decode().split() == ['done']
    word = r'caf\xe9' if encoding == 'ascii' else 'caf\u00e9'
    shown = rf'{word} \u8349 \U0001f600 0'
    assert out.decode(encoding).split('\n')[0].strip() == shown


def test_columns_are_as_wide_as_a_console_shows_them():
    code = (
        'from ovseg.errors import run_cli\n'
        'from ovseg.tables import text_table\n'
        "run_cli(lambda: print(text_table(('class', 'n'), [('\u8349', '1'), ('sky', '2')])))\n"
    )
    for encoding, shown in (('ascii', r'\u8349  1'), ('utf-8', '\u8349     1')):
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': encoding}
        out = subprocess.check_output([sys.executable, '-c', code], env=environment).decode(
            encoding
        )
        heads, _, first, second = out.splitlines()
        assert first == shown
        assert (
            heads.index('n')
            == second.index('2')
            == len(r'\u8349  ' if encoding == 'ascii' else 'class  ')
        )


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_lines_of_a_log_stand_in_the_order_of_the_run(unbuffered, tmp_path):
    code = (
        'import sys\n'
        'from ovseg.errors import run_cli\n'
        'from ovseg.progress import with_progress\n'
        'def main():\n'
        "    for _ in with_progress('abc', 3, 'image', 'data', every=0):\n"
        '        pass\n'
        "    sys.stderr.write('end\\n')\n"
        "    print('3 of 3', flush=True)\n"
        "    print('note', file=sys.stderr)\n"
        'run_cli(main)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': unbuffered}
    with (tmp_path / 'log').open('wb') as log:
        subprocess.run(
            [sys.executable, '-c', code], stdout=log, stderr=log, env=environment, check=True
        )
    lines = (tmp_path / 'log').read_text().splitlines()
    assert [line.split(',')[0] for line in lines] == [
        'data: 1 of 3 images',
        'data: 2 of 3 images',
        'end',
        '3 of 3',
        'note',
    ]


def test_a_console_that_has_the_letters_shows_them():
    out, _ = start('\u8349', PYTHONIOENCODING='utf-8').communicate()
    assert out.decode().strip() == '\u8349 0'


@pytest.mark.parametrize('code', [0, 1])
def test_a_reader_that_goes_away_does_not_end_the_work(code):
    process = start(lines=100_000, code=code)
    assert process.stdout.readline().strip() == b'sky 0'
    process.stdout.close()
    assert process.stderr.read().split() == [b'done']
    assert process.wait() == code


def test_both_streams_may_lose_their_reader():
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, '-c', SAY.format(word='sky', lines=100_000, code=0)],
        stdout=writer,
        stderr=writer,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    os.close(writer)
    assert os.read(reader, 3) == b'sky'
    os.close(reader)
    assert process.wait() == 0


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no device that is always full')
def test_a_full_disk_behind_the_output_is_said():
    with open('/dev/full', 'wb') as full:
        done = subprocess.run(
            [sys.executable, '-c', SAY.format(word='sky', lines=5, code=0)],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            check=False,
        )
    assert done.returncode == 1
    work, said = done.stderr.decode().strip().splitlines()
    assert work == 'done' and said.startswith('error: the standard output could not be written: No')


def test_a_closed_output_is_no_error():
    words = f'{sys.executable} -c "$CODE" >&-'
    code = SAY.format(word='sky', lines=5, code=0).replace('    sys.stdout.flush()\n', '')
    done = subprocess.run(
        ['sh', '-c', words],
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'CODE': code},
        check=False,
    )
    assert done.returncode == 0 and done.stderr.split() == [b'done']
