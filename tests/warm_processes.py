"""Scripts in processes of their own that start at once: forks of one that has imported everything.

A process that trains takes five seconds of a core to import what it needs. Tests whose subject is
what a process does, not how it starts, take one of these. The process that is forked is neither
that of the tests nor ever trains: PyTorch cannot differentiate in a fork of a process that has.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from scripts import ROOT

TIMEOUT = 300  # seconds


def run_warm(script, *words, **environment) -> subprocess.CompletedProcess:
    """Runs a Python script as ``python SCRIPT WORDS`` would, with more in its environment."""
    (done,) = _run(script, words, [environment])
    return done


def run_ranks(script, count, *words, port) -> list[subprocess.CompletedProcess]:
    """Runs a script in the processes of one group, as ``torchrun`` starts them on CPUs.

    Args:
        script: that takes ``--launcher``.
        count: of the processes.
        words: for the script.
        port: a free one, where the processes meet.
    """
    group = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'WORLD_SIZE': str(count)}
    group |= {'LOCAL_WORLD_SIZE': str(count), 'CUDA_VISIBLE_DEVICES': ''}
    ranks = [{**group, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} for rank in range(count)]
    return _run(script, [*words, '--launcher', 'pytorch'], ranks)


def _run(script, words, environments) -> list[subprocess.CompletedProcess]:
    """One process of the script for each environment, all at the same time."""
    command = [str(word) for word in (script, *words)]
    launched = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    own = {name: value for name, value in os.environ.items() if name not in launched}
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            {
                'command': command,
                'folder': os.getcwd(),
                'environment': {**own, 'OMP_NUM_THREADS': '1', **environment},
                'files': [f'{folder}/{number}.{stream}' for stream in ('out', 'err')],
            }
            for number, environment in enumerate(environments)
        ]
        server = _server()
        server.stdin.write(json.dumps(asked) + '\n')
        server.stdin.flush()
        codes = json.loads(server.stdout.readline())
        return [
            subprocess.CompletedProcess(command, code, *(Path(f).read_text() for f in one['files']))
            for code, one in zip(codes, asked, strict=True)
        ]


@functools.cache
def _server() -> subprocess.Popen:
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
    )

    def end():
        server.stdin.close()
        server.wait()

    atexit.register(end)
    return server


def _serve() -> None:
    """Answers each line, a list of what :func:`_run` asks for, with the exit codes."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    import ovseg.engine.runner  # noqa: F401
    from ovseg.registry import DATASETS, MODELS

    for registry in (MODELS, DATASETS):
        registry.import_from_location()
    sys.path.insert(0, str(ROOT / 'tests' / 'tools'))
    import tiny_world  # noqa: F401

    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        children = [_fork(**one) for one in json.loads(line)]
        answers.write(json.dumps(_codes(children)) + '\n')
        answers.flush()


def _codes(children: list[int]) -> list[int]:
    """Exit codes of all, negative for a signal; what takes too long is killed."""
    codes, deadline = {}, time.monotonic() + TIMEOUT
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[child] for child in children]


def _fork(command, folder, environment, files) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()  # a group of its own, that a test may signal
        for number, path in enumerate([os.devnull, *files]):
            flags = os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY
            os.dup2(os.open(path, flags, 0o600), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = command
        sys.path.insert(0, os.path.dirname(command[0]))
        code = _run_script(command[0])
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run_script(path: str) -> int:
    """What Python does with a script and how it ends."""
    try:
        runpy.run_path(path, run_name='__main__')
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == '__main__':
    _serve()
