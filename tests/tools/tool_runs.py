"""Runs the scripts of tools/ in this process, or as a user would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from scripts import ROOT, load_script
from separate_runs import forget_runs

from ovseg.errors import run_cli


def run_tool(name, *words):
    """Runs ``tools/NAME.py`` with words and returns its exit code, as in a process of its own."""
    forget_runs()
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
        start_new_session=True,  # a group of its own, that a test may signal
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


def read_scalars(folder):
    """What a training's logger wrote, a dict a line."""
    (path,) = folder.rglob('vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def same(first, second):
    """Whether two state dicts of the same names hold the same numbers."""
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def unmoved(first, last):
    """Names of numbers with a fraction that are the same in two state dicts."""
    return {
        name
        for name, value in first.items()
        if value.is_floating_point() and torch.equal(value, last[name])
    }


def check_equal(found, expected):
    """Both are the same, tensors bit by bit, however deep they lie."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            check_equal(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            check_equal(one, other)
    else:
        assert found == expected
