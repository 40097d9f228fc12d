"""Runs the scripts of tools/ in this process, or as a user would."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovseg.errors import run_cli

ROOT = Path(__file__).resolve().parents[2]


def _load(name):
    spec = importlib.util.spec_from_file_location(f'tools_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_tool(monkeypatch):
    """Runs ``tools/NAME.py`` with words and returns its exit code."""
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run(name, *words):
        module = _load(name)
        return run_cli(lambda: module.main([str(word) for word in words]))

    return run


@pytest.fixture
def run_script():
    """Runs a script of tools/ in a process of its own."""

    def run(name, *words, **environment):
        path = ROOT / 'tools' / name
        command = [sys.executable, str(path)] if path.suffix == '.py' else ['bash', str(path)]
        kept = {k: v for k, v in os.environ.items() if k not in ('RANK', 'WORLD_SIZE')}
        settings = {
            **kept,
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

    return run


@pytest.fixture
def read_result():
    """The only ``result.json`` below a folder."""

    def read(folder):
        (path,) = Path(folder).rglob('result.json')
        return json.loads(path.read_text(encoding='utf-8'))

    return read
