"""``ovseg completion``: scripts of three shells, and what bash completes with one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ovseg.cli.command import COMMANDS, main
from ovseg.cli.completion import SHELLS

# What bash does when somebody presses the tabulator behind the last word.
TRY = """
source {script}
COMP_WORDS=(ovseg {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_ovseg
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_without_shtab_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main(['completion', 'bash']) == 2
    assert 'pip install "ovseg[completion]"' in capsys.readouterr().err


@pytest.mark.parametrize('shell', SHELLS)
def test_a_script_knows_all_commands(shell, capsys):
    pytest.importorskip('shtab', reason='the extra `completion` is not installed')
    assert main(['completion', shell]) == 0
    script = capsys.readouterr().out
    assert all(command.name in script for command in COMMANDS)
    assert all(word in script for word in ('cityscapes', 'clip-dinoiser', 'naclip-vit-b16'))


@pytest.mark.parametrize(
    ('words', 'completed'),
    [
        ("''", [command.name for command in COMMANDS]),
        ('seg', ['segment']),
        ('segment a.jpg sky --model nac', ['naclip-vit-b16']),
        ('segment a.jpg sky --task p', ['panoptic']),
        ('segment --out-d', ['--out-dir']),
        ('prepare ade', ['ade20k', 'ade20k_panoptic', 'ade847']),
        ('export dense', ['denseclip']),
        ('test mine', ['mine.py']),
    ],
)
def test_bash_completes(words, completed, tmp_path, capsys):
    pytest.importorskip('shtab', reason='the extra `completion` is not installed')
    assert main(['completion', 'bash']) == 0
    script = tmp_path / 'ovseg.bash'
    script.write_text(capsys.readouterr().out)
    (tmp_path / 'mine.py').touch()
    done = subprocess.run(
        ['bash', '-c', TRY.format(script=script, words=words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == completed, done.stderr
