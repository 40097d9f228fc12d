"""Lists in text files, one entry a line, as editors of all systems write them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ovseg.errors import UserError
from ovseg.input_files import decoded, read_bytes, regular_file, similar_file


class EmptyList(UserError):
    """A list without an entry."""


def read_lines(path: str | Path, content: str) -> list[tuple[int, str]]:
    """The entries of a list with the numbers of their lines; see :func:`lines_of`.

    Args:
        path: of the list; ``~`` is the home folder.
        content: what it lists, for messages: ``'images'``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no regular file, no text, or (EmptyList) no entry.
    """
    try:
        found = regular_file(path, f'list of {content}')
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'there is no file {path} of {content}; write it, with one a line.'
            + similar_file(Path(os.path.expanduser(path)))
        ) from error
    # An empty file is a list without an entry.
    data = read_bytes(found, f'list of {content}') if found.stat().st_size else b''
    return lines_of(data, path, content)


def lines_of(data: bytes, path: str | os.PathLike[str], content: str) -> list[tuple[int, str]]:
    r"""The entries of a list with the numbers of their lines.

    A line is an entry, without the blanks around it; blanks inside belong to it. Empty lines, and
    lines that begin with ``#`` and a blank, are none. A mark at the start (UTF-8, UTF-16), and line
    ends of Windows and of old Macs are read.

    Args:
        data: the file's bytes.
        path: named in errors.
        content: what it lists, for errors.

    Raises:
        UserError: no text, or (EmptyList) no entry.

    Example:
        >>> lines_of(b'\xef\xbb\xbfa b.jpg \r\n\r\n# the rest\r\nc.jpg', 'list.txt', 'images')
        [(1, 'a b.jpg'), (4, 'c.jpg')]
    """
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path} lists the {content} in another encoding than UTF-8 (byte {error.start}); save '
            'it as UTF-8'
        ) from error
    if '\0' in text:
        raise UserError(f'{path} is no text file; give a text file that lists the {content}')
    lines = enumerate(re.split(r'\r\n|\n|\r', text), start=1)
    entries = [(number, line.strip()) for number, line in lines]
    entries = [
        (number, entry) for number, entry in entries if entry and entry[:2] not in ('# ', '#')
    ]
    if not entries:
        raise EmptyList(f'{path} names no {content}: it should list them, one a line')
    return entries


def without_suffix(names: Sequence[tuple[int, str]], suffix: str) -> list[str]:
    """The names of a list of files, without the suffix that some lists give them.

    Args:
        names: of :func:`read_lines`.
        suffix: such as ``'.jpg'``.

    Example:
        >>> without_suffix([(1, 'a'), (2, 'b.jpg')], '.jpg')
        ['a', 'b']
    """
    return [name.removesuffix(suffix) if suffix else name for _, name in names]
