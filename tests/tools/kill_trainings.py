"""Kills trainings while they write checkpoints; run in a process of its own, prints JSON.

Each training is a fork of one process, which has imported everything and trained nothing: PyTorch
cannot differentiate in a fork of a process that has.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import tiny_world  # noqa: F401
from mmengine.fileio.backends import LocalBackend
from scripts import load_script

from ovseg.engine import checkpoint_hook, runner


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def after(count, function, instead):
    """``function``, but ``instead`` from the call ``count`` on."""
    calls = iter(range(1, 1000))

    def counted(*args, **kwargs):
        return (instead if next(calls) >= count else function)(*args, **kwargs)

    return counted


def half(self, content, path):
    Path(path).write_bytes(bytes(content)[:500])
    die()


def cut(count):
    LocalBackend.put = after(count, LocalBackend.put, half)


def unnamed(count):
    runner.os.fsync = after(count, os.fsync, die)


def unrecorded(count):
    checkpoint_hook.written_whole = after(count, checkpoint_hook.written_whole, die)


def unremoved(count):
    backend = checkpoint_hook._RemovesLater
    backend.remove = after(count, backend.remove, die)


def train(config, folder, change=None, *words):
    """The exit code of a training in a fork, negative for a signal; ``change`` is made in it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if change is not None:
            change[0](change[1])
        code = load_script('train').main([config, '--work-dir', folder, *words])
    finally:
        os._exit(code)


def main(config, root):
    reports = {'whole': {'end': train(config, f'{root}/whole')}}
    # The numbers are those of a last checkpoint or a best one, in the second or third step.
    for change, count in ((cut, 4), (unnamed, 5), (unrecorded, 5), (unremoved, 4)):
        folder = Path(root) / change.__name__
        killed = train(config, str(folder), (change, count))
        left = sorted(path.name for path in folder.glob('*.pth'))
        end = train(config, str(folder), None, '--resume')
        tidy = not [path.name for path in folder.glob('.*')]
        reports[folder.name] = {'killed': killed, 'left': left, 'end': end, 'tidy': tidy}
    print(json.dumps(reports))


if __name__ == '__main__':
    main(*sys.argv[1:])
