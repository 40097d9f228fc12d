"""Where weights lie: a path, an address of the web, or what ships with ovseg."""

from __future__ import annotations

import stat
from itertools import islice
from pathlib import Path

from ovseg.errors import UserError, nearest

# The folder of the weights that ship with ovseg.
WEIGHTS = Path(__file__).resolve().parent.parent / 'weights'
# How they are named where a file is asked for: ovseg://NAME.
SHIPPED = 'ovseg://'
_WEB = ('http://', 'https://')
# Names of a folder that are compared with a name that it does not have.
_COMPARED = 1000


def find_weights(name: str | Path) -> Path:
    """The regular file that a name of weights stands for; nothing is opened.

    Args:
        name: a path; an ``http(s)`` address, which is fetched into torch's own cache first; or
            ``ovseg://NAME``, weights that ship with ovseg.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a folder, a pipe or a device (which would wait for ever), a path that the system
            refuses, or an address that cannot be fetched.
    """
    text = str(name)
    if text.startswith(_WEB):
        # Brings open_clip and the hub's client along, which a file does not need.
        from ovseg.downloads import fetch_url

        path = fetch_url(text)
    elif text.startswith(SHIPPED):
        path = WEIGHTS / f'{text.removeprefix(SHIPPED)}.safetensors'
    else:
        path = Path(text).expanduser()
    return regular_file(path)


def is_there(name: str | Path) -> bool:
    """Whether a name is an address or the path of something, and not a tag of published weights.

    Args:
        name: what a user gave.
    """
    if str(name).startswith((*_WEB, SHIPPED)):
        return True
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError):
        return True  # no tag is as long, or has such letters; opening it says what is wrong


def regular_file(path: Path) -> Path:
    """The path, if a regular file lies there.

    Args:
        path: where.

    Raises:
        FileNotFoundError: there is nothing.
        UserError: something else, or a path that the system refuses.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f'weight file {path} does not exist; check the path.{nearest(str(path), _beside(path))}'
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f'{str(path)[:200]!r} cannot be opened ({reason}); check the path'
        ) from error
    if stat.S_ISDIR(mode):
        raise UserError(f'{path} is a folder; give a weight file in it')
    if not stat.S_ISREG(mode):
        raise UserError(f'{path} is no regular file but a pipe or a device; copy it into a file')
    return path


def _beside(path: Path) -> list[str]:
    try:
        return [str(entry) for entry in islice(path.parent.iterdir(), _COMPARED)]
    except OSError:
        return []
