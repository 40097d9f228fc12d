"""Where weights lie: a path, an address of the web, or what ships with ovseg."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import regular_file

# The folder of the weights that ship with ovseg.
WEIGHTS = Path(__file__).resolve().parent.parent / 'weights'
# How they are named where a file is asked for: ovseg://NAME.
SHIPPED = 'ovseg://'
_WEB = ('http://', 'https://')
_SUFFIXES = ('.pt', '.pth', '.bin', '.safetensors', '.npz', '.npy')


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
    else:
        path = shipped_file(name) or Path(text)
    return regular_file(path, 'weight file')


def shipped_file(name: str | Path) -> Path | None:
    """Where ``ovseg://NAME`` lies, whether there or not; None for every other name.

    Args:
        name: what a user gave.
    """
    text = str(name)
    if not text.startswith(SHIPPED):
        return None
    return WEIGHTS / f'{text.removeprefix(SHIPPED)}.safetensors'


def is_there(name: str | Path) -> bool:
    """Whether a name is an address or the path of something, and not a tag of published weights.

    Args:
        name: what a user gave.
    """
    if str(name).startswith((*_WEB, SHIPPED)):
        return True
    try:
        os.stat(os.path.expanduser(name))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True  # no tag is as long, or has such letters; opening it says what is wrong
    return True


def check_named_files(settings: Any, where: str) -> None:
    """Stops where settings name a weight file that is not there, before anything is built.

    Args:
        settings: of a model; texts in it that end as weight files do and are no address are paths.
        where: the name of the settings.

    Raises:
        FileNotFoundError: there is no such file; says which setting names it.
        UserError: something else than a file.
    """
    if isinstance(settings, Mapping):
        for name, part in settings.items():
            check_named_files(part, f'{where}.{name}')
    elif isinstance(settings, (list, tuple)):
        for number, part in enumerate(settings):
            check_named_files(part, f'{where}[{number}]')
    elif isinstance(settings, (str, Path)) and str(settings).endswith(_SUFFIXES):
        if '://' in str(settings):
            return
        try:
            regular_file(settings, 'weight file')
        except (UserError, FileNotFoundError) as error:
            raise type(error)(f'{where}: {error}') from error
