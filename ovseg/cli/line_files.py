"""Files that one process adds lines to, which others read when it is gone."""

from __future__ import annotations

import os
from typing import IO

from ovseg.files import cannot_write

_BLOCK = 65536


def add_line(file: IO[bytes], line: bytes) -> None:
    """Add a line: it is with the system then, should this process die.

    Args:
        file: opened to append, without a buffer.
        line: with its end.

    Raises:
        CannotWrite: the disk does not take it.
    """
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise cannot_write(file.name, error) from error


def cut_last_line(file: IO[bytes]) -> None:
    """Take away the end of a file that a process which died did not end with a line's end.

    Args:
        file: opened to append.
    """
    end = kept = file.seek(0, os.SEEK_END)
    with open(file.name, 'rb') as again:
        while kept:
            start = max(0, kept - _BLOCK)
            again.seek(start)
            found = again.read(kept - start).rfind(b'\n')
            kept = start + found + 1
            if found >= 0:
                break
    if kept != end:
        file.truncate(kept)
