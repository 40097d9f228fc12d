"""The settings of the linters find what they are there for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scripts import ROOT

SETTINGS = ROOT / 'pyproject.toml'
PLAIN = '''
def {name}(values):
    """Sums something{name}."""
    first = [value for value in values if value > {name_length}]
    {body}
    return first
'''


def lint(tool, *words):
    command = [sys.executable, '-m', tool, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(('lines', 'code'), [(7, 0), (8, 8)])
def test_eight_lines_in_two_files_are_found_and_seven_are_not(tmp_path, lines, code):
    body = '\n    '.join(f'first = [one + {number} for one in first]' for number in range(lines))
    for name in ('one', 'other'):
        text = PLAIN.format(name=name, name_length=len(name), body=body)
        text = text.replace('return first', f'return first[{len(name)}]')
        (tmp_path / f'{name}.py').write_text(text, encoding='utf-8')
    done = lint('pylint', '--rcfile', SETTINGS, tmp_path)
    assert done.returncode == code, done.stdout
    assert ('duplicate-code' in done.stdout) == bool(code)


def test_a_public_function_without_docstring_is_found(tmp_path):
    (tmp_path / 'plain.py').write_text('"""Module."""\n\n\ndef public():\n    pass\n')
    done = lint('ruff', 'check', '--no-cache', '--config', SETTINGS, tmp_path / 'plain.py')
    assert done.returncode == 1
    assert 'D103' in done.stdout


def test_a_misspelt_word_is_found(tmp_path):
    misspelt = 'rec' + 'ieve'
    (tmp_path / 'page.md').write_text(f'They {misspelt} masks of UPerNet.\n', encoding='utf-8')
    done = lint('codespell_lib', '--toml', SETTINGS, tmp_path / 'page.md')
    assert done.returncode == 65
    assert done.stdout.count('==>') == 1
