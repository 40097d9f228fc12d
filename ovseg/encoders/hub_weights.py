"""Models as the hub keeps them: files of one repository, or of a folder with the same names."""

from __future__ import annotations

import os
from pathlib import Path

from ovseg.downloads import fetch_from_hub
from ovseg.errors import UserError

# How a repository of the hub is named where a file is asked for; open_clip and timm say so, too.
HUB = 'hf-hub:'
_FILE = 'model.safetensors'


def find_hub_weights(name: str | Path, key: str) -> str | Path:
    """The weight file that a name stands for.

    Args:
        name: ``'hf-hub:organisation/name'``, fetched into the hub's own cache if need be; a folder
            with a ``model.safetensors``; or what
            :func:`~ovseg.weight_files.find_weights` takes, which is given back as it is.
        key: setting that names the weights, for messages.

    Raises:
        UserError: a folder without such a file, a repository that is not open to this user, or one
            that cannot be reached.
        FileNotFoundError: there is no such repository.
    """
    text = str(name)
    if text.startswith(HUB) or os.path.isdir(os.path.expanduser(text)):
        return file_of_model(name, _FILE, key)
    return name


def file_of_model(model: str | Path, name: str, key: str) -> Path:
    """A file of a model.

    Args:
        model: a folder; or ``'organisation/name'``, with ``hf-hub:`` before it or without.
        name: of the file in it.
        key: setting that names the model, for messages.

    Raises:
        UserError: a folder without such a file, a repository that is not open to this user, or one
            that cannot be reached.
        FileNotFoundError: there is no such folder or repository, or no such file in the latter.
    """
    folder = os.path.expanduser(str(model))
    if os.path.isdir(folder):
        if not os.path.isfile(os.path.join(folder, name)):
            raise UserError(
                f'{model} is a folder without {name}; give the folder of one model, as the hub has '
                'it'
            )
        return Path(folder, name)
    repository = str(model).removeprefix(HUB)
    if repository.count('/') != 1 or repository.startswith(('.', '/')):
        raise FileNotFoundError(f'There is no file or folder {model}: check {key}')
    return fetch_from_hub(repository, name, key)
