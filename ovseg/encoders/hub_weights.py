"""Weights as the hub keeps them: one ``model.safetensors`` in a repository, or in a folder."""

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
    if text.startswith(HUB):
        return fetch_from_hub(text.removeprefix(HUB), _FILE, key)
    folder = os.path.expanduser(text)
    if not os.path.isdir(folder):
        return name
    if not os.path.isfile(os.path.join(folder, _FILE)):
        raise UserError(
            f'{name} is a folder without {_FILE}; give the folder of one model, or a weight file'
        )
    return Path(folder, _FILE)
