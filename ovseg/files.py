"""Files appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovseg.errors import UserError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``; moved to ``path`` when the block ends well.

    An exception (Ctrl-C too) removes the temporary file and leaves an older ``path`` as it was.
    The temporary name keeps the suffix of ``path``, because image writers choose the format by it.

    Args:
        path: the file wanted; missing folders above it are made.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix='.writing-', suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(
            f'Cannot write to the folder {path.parent} ({error.strerror}): choose another one.'
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: str | Path) -> None:
    """Find out before long work that its results cannot be written; makes nothing.

    Args:
        folder: where files will be written; it need not exist yet.

    Raises:
        UserError: it, or a folder above it, is a file or may not be written to.
    """
    existing = Path(folder).absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(
            f'Cannot write to the folder {folder} ({existing.name} is a file): choose another one.'
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f'Cannot write to the folder {folder} (no permission): choose another one.')


def _umask() -> int:
    """The process's umask: mkstemp makes files that only the owner can read.

    It is not set to be read: all threads share it, and what they make meanwhile would be open to
    everybody.
    """
    told = _told_umask()
    return _UMASK_AT_START if told is None else told


def _told_umask() -> int | None:
    """The umask as the kernel tells it, None where it does not (before Linux 4.7, elsewhere)."""
    with suppress(OSError, ValueError), open('/proc/self/status', encoding='utf-8') as status:
        for line in status:
            if line.startswith('Umask:'):
                return int(line.split()[1], 8)
    return None


def _exchanged_umask() -> int:
    """The umask, read in the way of all systems; for a moment it is the strictest there is."""
    mask = os.umask(0o777)
    os.umask(mask)
    return mask


# Read before there are threads, for where the kernel does not tell it.
_UMASK_AT_START = 0o077 if _told_umask() is not None else _exchanged_umask()
