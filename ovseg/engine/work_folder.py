"""A work folder belongs to one training at a time, and starts tidy."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovseg.errors import UserError

LOCK = '.training.lock'
# Of files.written_whole, for checkpoints and for last_checkpoint.
_DEAD = re.compile(r'\.writing-(?:.*\.pth|[a-z0-9_]{8})')
# Seconds between two signs of life, and how long another machine is watched for one.
_BEAT, _WATCH = 10.0, 25.0
# Folders that this process holds, and the threads that do.
_held: dict[str, int] = {}


@contextmanager
def held_folder(folder: str | Path, watch: float = _WATCH) -> Iterator[None]:
    """Keeps other trainings out of a work folder; removes what a killed one left half written.

    The holder's lock file names its machine and process. It is released by the system when the
    process ends in whatever way. The thread that holds a folder may hold it once more. Where a file
    system does not share locks between machines, a holder on another one is watched for its sign
    of life, the changing time of the lock file.

    Args:
        folder: made if it does not exist.
        watch: seconds to wait for a sign of life from another machine.

    Raises:
        UserError: another training holds it, or it cannot be written to.
    """
    folder = Path(folder)
    path = folder / LOCK
    key = os.path.realpath(folder)
    if key in _held:
        if _held[key] != threading.get_ident():
            raise _taken(folder, socket.gethostname(), os.getpid())
        yield  # a tool holds it from before it looks for a checkpoint, its Runner while it trains
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _locked(path, folder)
        _check_elsewhere(handle, folder, watch)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f'{socket.gethostname()} {os.getpid()}\n'.encode(), 0)
    except OSError as error:
        raise UserError(
            f'cannot train in the folder {folder} ({error.strerror or error}); choose another '
            '--work-dir'
        ) from error
    _held[key] = threading.get_ident()
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(handle, ended), daemon=True)
    thread.start()
    try:
        _remove_dead(folder)
        yield
    finally:
        ended.set()
        thread.join()
        _held.pop(key, None)
        # While it is locked, so that nobody else's is removed.
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path, folder: Path) -> int:
    """An open lock file that this process has locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise UserError(f'{path} is no regular file; remove it')
        try:
            # Of the process, not of the open file: a data loader's processes do not share it.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _taken(folder, *holder) from error
            raise
        # Its last holder may have removed it since it was opened.
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)


def _holder(handle: int) -> tuple[str, int]:
    """Machine and process in a lock file; an empty name where it says none."""
    words = os.pread(handle, 512, 0).decode(errors='replace').split()
    return (words[0], int(words[1])) if len(words) == 2 and words[1].isdigit() else ('', 0)


def _check_elsewhere(handle: int, folder: Path, watch: float) -> None:
    """Waits for a sign of life where the last holder did not tidy up and ran elsewhere."""
    host, process = _holder(handle)
    if not host or host == socket.gethostname():
        return
    before = os.fstat(handle).st_mtime_ns
    end = time.monotonic() + watch
    while time.monotonic() < end:
        time.sleep(min(1.0, watch))
        if os.fstat(handle).st_mtime_ns != before:
            raise _taken(folder, host, process)


def _taken(folder: Path, host: str, process: int) -> UserError:
    who = f'process {process} on {host}' if host else 'another process'
    return UserError(
        f'a training runs in {folder} already ({who}); wait until it ends, stop it, or choose '
        'another --work-dir'
    )


def _beat(handle: int, ended: threading.Event) -> None:
    while not ended.wait(_BEAT):
        try:
            os.utime(handle)
        except OSError:
            return


def _remove_dead(folder: Path) -> None:
    for path in folder.iterdir():
        if _DEAD.fullmatch(path.name) and not os.path.isdir(path):
            path.unlink(missing_ok=True)  # of a link, the link
