"""Fetching published weights through the libraries' own mechanisms and caches."""

from __future__ import annotations

import hashlib
import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import huggingface_hub
import torch
from open_clip import pretrained as open_clip_weights

from ovseg.errors import UserError

# The names under which open_clip looks for weights in a repository of the hub, in its order.
_HUB_FILES = (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.safetensors',
    'open_clip_pytorch_model.bin',
)


def fetch_weights(tag: Mapping[str, object], name: str) -> str:
    """Returns the path of published weights, downloaded into the library's own cache if need be.

    Args:
        tag: open_clip's entry for the weights.
        name: what to call them in messages, e.g. ``"'openai' of 'ViT-B-16'"``.

    Raises:
        UserError: they are not cached and cannot be fetched.
    """
    repository = str(tag.get('hf_hub') or '')
    if repository and not _reaches_hub():
        # The hub's client would retry for a minute, with a warning each time.
        cached = _cached(repository)
        if cached is None:
            raise _unreachable(tag, name, 'no network')
        return cached
    try:
        return open_clip_weights.download_pretrained(dict(tag))
    except Exception as error:
        raise _unreachable(tag, name, type(error).__name__) from error


def fetch_url(url: str, key: str | None = None) -> Path:
    """Returns the path of a file of the web, downloaded into torch's own cache if need be.

    Args:
        url: ``http(s)`` address.
        key: setting of a model that takes the path of such a file; None where the URL itself is
            the setting.

    Raises:
        UserError: it is not cached and cannot be fetched; says what to do.
    """
    name = Path(urlsplit(url).path).name
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    # Two servers may use one file name.
    path = cache / hashlib.sha256(url.encode()).hexdigest()[:8] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (URLError, OSError) as error:
            setting = 'give the path of the file instead of the URL'
            if key is not None:
                setting = f'set {key} of the model in the config to the path of the file'
            raise UserError(
                f'{url} could not be fetched ({error}); get it by other means and {setting}, or '
                f'put it at {path}'
            ) from error
    return path


def _reaches_hub() -> bool:
    """Whether the hub's host resolves; behind a proxy only the proxy can tell."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def _cached(repository: str) -> str | None:
    repository, _, file = repository.rpartition('/')
    for candidate in (file,) if file else _HUB_FILES:
        path = huggingface_hub.try_to_load_from_cache(repository, candidate)
        if isinstance(path, str):
            return path
    return None


def _unreachable(tag: Mapping[str, object], name: str, reason: str) -> UserError:
    wanted = tag.get('url') or _hub_file(str(tag['hf_hub']))
    return UserError(
        f'weights {name} could not be downloaded ({reason}); on a machine with network fetch '
        f'{wanted} and give the path of the file (clip.pretrained in a config, --checkpoint in '
        'the demo)'
    )


def _hub_file(repository: str) -> str:
    """Names the file to fetch from the hub, or those of which a repository has at least one."""
    repository, _, file = repository.rpartition('/')
    return f'{file or " or ".join(_HUB_FILES)} of {repository} on the Hugging Face hub'
