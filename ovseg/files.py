"""Files appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovseg.errors import UserError
from ovseg.file_names import existing_part, longest_name

_PREFIX = '.writing-'
_TEMPORARY = re.compile(r'\.writing-[a-z0-9_]{8}(?:\..*)?')
# Seconds: a temporary file that is younger may not have been locked by its writer yet.
_YOUNG = 60
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a file system says to a writer; a network or a reader says other things.
ERRORS_OF_WRITING = (
    *_FULL,
    *(errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.EILSEQ),
)
# Writers that lose the system's error raise one of their own after about so many bytes.
_PROBE = b'\0' * 65536


class CannotWrite(UserError, OSError):
    """A file could not be written; nothing of it stays, and an older one is as it was.

    Attributes:
        ends_run: whether other files will not be written either: the disk is full, or read-only.
    """

    def __init__(self, message: str, cause: OSError) -> None:
        super().__init__(message)
        self.errno = cause.errno
        self.strerror = cause.strerror
        self.ends_run = cause.errno in (*_FULL, errno.EROFS)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type[CannotWrite], tuple[str, OSError]]:
        # Worker processes send it to their parent.
        return CannotWrite, (str(self), OSError(self.errno, self.strerror))


def cannot_write(path: str | Path, error: OSError) -> CannotWrite:
    """The error for a file that could not be written, in a sentence that says what to do.

    Args:
        path: the file wanted.
        error: what the system said.
    """
    path = Path(path)
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        remedy = f'make room, or choose another folder than {path.parent}'
    elif error.errno == errno.EFBIG:
        remedy = 'raise the limit on file sizes (ulimit -f), or choose another disk'
    elif error.errno == errno.ENAMETOOLONG:
        remedy = 'choose a shorter name'
    elif error.errno == errno.EILSEQ:
        remedy = 'this disk does not take such a name, choose another one'
    elif os.path.isdir(path):
        reason, remedy = 'there is a folder of this name', 'move it away, or choose another name'
    else:
        return CannotWrite(
            f'Cannot write to the folder {path.parent} ({reason}): choose another one.', error
        )
    return CannotWrite(f'Cannot write {path} ({reason}): {remedy}.', error)


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``; moved to ``path`` when the block ends well.

    An exception (Ctrl-C too) removes the temporary file and leaves an older ``path`` as it was.
    The temporary name keeps the suffix of ``path``, because image writers choose the format by it.

    Args:
        path: the file wanted; missing folders above it are made.

    Raises:
        CannotWrite: the folder cannot be made or written to, or the disk or a limit of the system
            does not take the file; also where the writer in the block raised an error of its own
            for this.
    """
    path = Path(path)
    with _temporary_for(path) as temporary:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise cannot_write(path, error) from error


def write_beside(path: str | Path, text: str) -> Path:
    """Write a text file and leave one that is there: the new one is ``name_2.suffix`` then, or _3.

    Several processes may write at the same moment; each gets a file of its own.

    Args:
        path: the file wanted.
        text: its content.

    Returns:
        The path written.

    Raises:
        CannotWrite: see :func:`written_whole`.
    """
    path = Path(path)
    with _temporary_for(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')
        temporary.chmod(0o666 & ~_umask())
        number, place = 1, path
        while not _placed(temporary, place):
            number += 1
            place = path.with_name(f'{path.stem}_{number}{path.suffix}')
    return place


def claim_folder(parent: str | Path, name: str) -> str:
    """Make a new folder, and return its name: ``name``, or ``name_2``, ... where that is taken.

    Args:
        parent: where; made if missing.
        name: the name wanted.

    Raises:
        CannotWrite: it cannot be made.
    """
    number, chosen = 1, name
    while True:
        try:
            os.makedirs(Path(parent) / chosen)
        except FileExistsError:
            number += 1
            chosen = f'{name}_{number}'
        except OSError as error:
            raise cannot_write(Path(parent) / chosen, error) from error
        else:
            return chosen


def _placed(temporary: Path, place: Path) -> bool:
    """Give a file the name ``place``, or False if that is taken."""
    try:
        os.link(temporary, place)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        os.replace(temporary, place)
    return True


@contextmanager
def _temporary_for(path: Path) -> Iterator[Path]:
    """A new temporary file for ``path``, locked as long as its writer lives, removed at the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        with suppress(OSError):  # where locks do not work, the file's age must do
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
    except Exception as error:
        fault = _fault_of_writing(error, temporary)
        if fault is None:
            raise
        raise cannot_write(path, fault) from error
    finally:
        os.close(handle)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _fault_of_writing(error: Exception, temporary: Path) -> OSError | None:
    """What the system has against writing a file, if that is why a writer failed."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in ERRORS_OF_WRITING else None
    # Not all writers hand on what the system said: ask it again.
    try:
        with temporary.open('ab') as file:
            file.write(_PROBE)
    except OSError as found:
        return found if found.errno in ERRORS_OF_WRITING else None
    return None


@contextmanager
def changed_alone(path: str | Path) -> Iterator[None]:
    """While a file is read, changed and written back: other processes that do so wait.

    The folder is locked, since the file itself is replaced; where the file system has no locks,
    nobody waits.

    Args:
        path: of the file, which need not exist; its folder is made.

    Raises:
        UserError: the folder cannot be made.
    """
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(Path(path), error) from error
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def remove_dead_temporaries(folder: str | Path) -> int:
    """Remove what writers that were killed left half written; returns how many files it were.

    Files whose writer lives are locked by it and stay.

    Args:
        folder: of the files wanted; it need not exist.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                removed += _removed_if_dead(entry.path)
    return removed


def _removed_if_dead(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if time.time() - os.fstat(handle).st_mtime < _YOUNG:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def check_folder(folder: str | Path) -> None:
    """Find out before long work that its results cannot be written; makes nothing.

    Args:
        folder: where files will be written; it need not exist yet.

    Raises:
        UserError: it, or a folder above it, is a file, a link to nothing, or may not be written to;
            or a name in it is longer than the disk takes.
    """
    existing = existing_part(folder)
    longest = longest_name(existing)
    for name in Path(folder).parts:
        if len(os.fsencode(name)) > longest:
            raise UserError(
                f'Cannot make the folder {name[:40]}... (a name of {len(name)} letters, more than '
                f'the {longest} bytes that the disk takes): choose a shorter one.'
            )
    reason = _why_not_into(existing)
    if reason is not None:
        raise UserError(f'Cannot write to the folder {folder} ({reason}): choose another one.')


def _why_not_into(folder: Path) -> str | None:
    """What is in the way of files in a folder that exists; None if they can be written."""
    if not os.path.exists(folder):
        return f'{folder.name} is a link to {os.readlink(folder)}, which is not there'
    if not os.path.isdir(folder):
        return f'{folder.name} is a file'
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    return 'its disk is read-only' if read_only else 'no permission'


def check_apart(folders: Iterable[tuple[str, str | os.PathLike[str] | None]]) -> None:
    """Stop where two options name one folder, whose files have the same names.

    Args:
        folders: options with theirs; None for an option that was not given.

    Raises:
        UserError: names the two.
    """
    first: dict[str, str] = {}
    for option, folder in folders:
        if not folder:
            continue
        other = first.setdefault(os.path.realpath(folder), option)
        if other != option:
            raise UserError(
                f'{option} and {other} are the same folder, {os.fspath(folder)}, and their files '
                'have the same names: choose two'
            )


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
