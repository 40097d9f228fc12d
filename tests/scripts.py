"""Where the checkout is, its scripts as modules, and code in an interpreter of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent


def load_script(name: str, folder: str = 'tools') -> ModuleType:
    """The script ``folder/name.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f'{folder}_{name}', ROOT / folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    # A script finds its neighbours, as where it is run.
    with mock.patch.object(sys, 'path', [str(ROOT / folder), *sys.path]):
        spec.loader.exec_module(module)
    return module


def run_python(code: str, *flags: str, path: Path | None = None) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter that finds ovseg, and `path` before everything else."""
    places = [str(place) for place in (path, ROOT) if place]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(places)}
    env.pop('PYTHONWARNINGS', None)
    return subprocess.run(
        [sys.executable, *flags, '-c', code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )


def own_words(stderr: str) -> str:
    """What a process wrote to stderr, without two lines of torch 2.5 that no filter silences."""
    theirs = ('functional optimizers is deprecated', 'from torch.distributed.optim import')
    lines = stderr.splitlines(keepends=True)
    return ''.join(line for line in lines if not any(part in line for part in theirs))
