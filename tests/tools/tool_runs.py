"""Runs the scripts of tools/ in this process, or as a user would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from scripts import ROOT, load_script

from ovseg.errors import run_cli


def run_tool(name, *words):
    """Runs ``tools/NAME.py`` with words and returns its exit code."""
    return run_cli(lambda: load_script(name).main([str(word) for word in words]))


def run_script(name, *words, **environment):
    """Runs a script of tools/ in a process of its own."""
    path = ROOT / 'tools' / name
    command = [sys.executable, str(path)] if path.suffix == '.py' else ['bash', str(path)]
    launched = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    settings = {
        **{name: value for name, value in os.environ.items() if name not in launched},
        'PYTHON': sys.executable,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        'OMP_NUM_THREADS': '1',
        **environment,
    }
    return subprocess.run(
        [*command, *map(str, words)],
        capture_output=True,
        text=True,
        env=settings,
        timeout=300,
        check=False,
    )


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def read_result(folder):
    """The only ``result.json`` below a folder."""
    (path,) = Path(folder).rglob('result.json')
    return json.loads(path.read_text(encoding='utf-8'))
