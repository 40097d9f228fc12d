"""Files that somebody gave: bytes, text and JSON of regular files; anything else is a sentence."""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from ovseg.errors import UserError, nearest

# Names of a folder that are compared with a name that it does not have.
_COMPARED = 1000
_LONGEST_CAUSE = 160
_ADDRESS = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://')
_MARKS = (
    (codecs.BOM_UTF8, 'utf-8'),
    (codecs.BOM_UTF16_LE, 'utf-16-le'),
    (codecs.BOM_UTF16_BE, 'utf-16-be'),
)


def regular_file(path: str | os.PathLike[str], content: str = 'file') -> Path:
    """The path, if a regular file lies there; nothing is opened, so nothing waits.

    Args:
        path: where; ``~`` is the home folder.
        content: what the file should be, for messages, such as ``'weight file'``.

    Raises:
        FileNotFoundError: there is nothing; names the nearest file beside it.
        UserError: a folder, a pipe or a device, or a path that the system refuses.
    """
    try:
        path = Path(os.path.expanduser(path))
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f'{content} {path} does not exist; check the path.{similar_file(Path(path))}'
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f'{str(path)[:200]!r} cannot be opened ({cause_of(error)}); check the path'
        ) from error
    if stat.S_ISDIR(mode):
        raise UserError(f'{path} is a folder; give a {content} in it')
    if not stat.S_ISREG(mode):
        raise UserError(f'{path} is no regular file but a pipe or a device; copy it into a file')
    return path


def check_named(name: str | os.PathLike[str] | None, content: str = 'weight file') -> None:
    """Stops at a file that is not there before anything is imported that could read it.

    Args:
        name: as a user gave it; None, an address, and a word that is no file's name (published
            weights have tags) pass.
        content: see :func:`regular_file`.

    Raises:
        FileNotFoundError: see :func:`regular_file`.
        UserError: likewise.
    """
    text = '' if name is None else os.fspath(name)
    if '://' not in text and (os.sep in text or Path(text).suffix):
        regular_file(text, content)


def refuse_address(name: str, content: str = 'file') -> None:
    """Stops at an address of the web or of a store where a file's name is wanted.

    Args:
        name: as typed by a person.
        content: what the file should be, for the message.

    Raises:
        UserError: says how to fetch it.
    """
    if _ADDRESS.match(name):
        fetch = f' (curl -LO "{name}")' if name.lower().startswith('http') else ''
        raise UserError(
            f'{name} is an address, and ovseg reads files: fetch the {content}{fetch} and give '
            "the file's name."
        )


def similar_file(path: Path) -> str:
    """A suffix for messages about a missing file: the nearest file in its folder, if one is near.

    Args:
        path: of what does not exist.
    """
    try:
        beside = [entry.name for entry in islice(path.parent.iterdir(), _COMPARED)]
        return nearest(path.name, [name for name in beside if os.path.isfile(path.parent / name)])
    except FileNotFoundError:
        return f' There is no folder {path.parent} either.'
    except OSError:
        return ''


def read_bytes(path: str | os.PathLike[str], content: str = 'file') -> bytes:
    """All of a regular file.

    Args:
        path: see :func:`regular_file`.
        content: see :func:`regular_file`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`regular_file`; or it is empty, or may not or cannot be read.
    """
    path = regular_file(path, content)
    try:
        data = path.read_bytes()
    except (OSError, MemoryError) as error:
        raise UserError(f'the {content} {path} cannot be read ({cause_of(error)})') from error
    if not data:
        raise UserError(f'the {content} {path} is an empty file; get it again')
    return data


def with_content(value: Any) -> Any:
    """A file's name with a hash of what it holds, for records of what a run depends on.

    Args:
        value: a name, which is a file's if such a file is there; anything else stays as it is.

    Raises:
        UserError: the file cannot be read.
    """
    if not isinstance(value, (str, os.PathLike)) or not os.path.isfile(os.path.expanduser(value)):
        return value
    return f'{value} ({blake2b(read_bytes(value), digest_size=8).hexdigest()})'


def read_text(path: str | os.PathLike[str], content: str = 'file') -> str:
    """The text of a file in UTF-8, without the mark that some editors put at its start.

    Args:
        path: see :func:`regular_file`.
        content: see :func:`regular_file`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`read_bytes`; or it is text in another encoding, or no text.
    """
    data = read_bytes(path, content)
    if b'\0' in data:
        raise UserError(
            f'the {content} {path} holds zero bytes, as files do that are no text or are text in '
            'UTF-16; save it as UTF-8'
        )
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise UserError(
            f'the {content} {path} is not text in UTF-8 (line {line}); save it as UTF-8'
        ) from error


def decoded(data: bytes) -> str:
    r"""Text in UTF-8, or in UTF-16 with its mark at the start; the mark is left out.

    Args:
        data: the bytes of a file.

    Raises:
        UnicodeDecodeError: another encoding, or no text.

    Example:
        >>> decoded(b'\xef\xbb\xbfsky'), decoded(b'\xff\xfes\0k\0y\0')
        ('sky', 'sky')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    return data.decode('utf-8')


def read_json(path: str | os.PathLike[str], content: str = 'file', by_hand: bool = False) -> Any:
    """What a JSON file holds.

    Args:
        path: see :func:`regular_file`.
        content: see :func:`regular_file`.
        by_hand: whether people write such files, who name a thing twice: that is an error then,
            where JSON's own rule keeps the last of them.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`read_text`; or it is cut off, nested without end, or no JSON, which
            knows neither NaN nor infinity; or a name stands twice.
    """
    text = read_text(path, content)
    try:
        pairs = unique_keys if by_hand else None
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=pairs)
    except UserError as error:
        raise UserError(f'the {content} {path}: {error}') from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f'the {content} {path} is no valid JSON ({cause_of(error)}); mend it or get it again'
        ) from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A map of JSON, no name of which stands twice: ``object_pairs_hook`` of its reader.

    Args:
        pairs: names and values as they stand there.

    Raises:
        UserError: a name stands twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f'duplicate entry {key!r}')
        found[key] = value
    return found


def cause_of(error: BaseException) -> str:
    """What an error says, in a few words on one line.

    Args:
        error: of the system or of a decoder.
    """
    text = getattr(error, 'strerror', None) or str(error)
    return ' '.join(str(text).split())[:_LONGEST_CAUSE].rstrip('. ') or type(error).__name__


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is no number of JSON')
