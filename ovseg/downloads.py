"""Fetching published weights through the libraries' own mechanisms and caches."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import huggingface_hub
import torch
from open_clip import pretrained as open_clip_weights

from ovseg.errors import UserError
from ovseg.files import CannotWrite, cannot_write, written_whole
from ovseg.input_files import cause_of

# Seconds that a server may say nothing; and what it must send in such a time, in bytes.
_SILENCE = 30.0
_SLOWEST = 1 << 15
_CHUNK = 1 << 20
# Names that carry the first digits of a sum: torch's hub and the mm packages (name-01ab23cd.pth),
# OpenAI (a folder). Eight figures without a letter are a date.
_IN_NAME = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$')
_IN_FOLDER = re.compile(r'/([0-9a-f]{64})/[^/]+$')

_PAGE = 'the server sends a page, not the file'
_WEB_PAGE = re.compile(rb'\s*<(!doctype|html|\?xml)', re.IGNORECASE)

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
    if repository and not reaches_hub():
        # The hub's client would retry for a minute, with a warning each time.
        cached = _cached(repository)
        if cached is None:
            raise _unreachable(tag, name, 'no network')
        return cached
    url = str(tag.get('url') or '')
    try:
        if url and not repository:
            # Where open_clip keeps it; its own download may leave half a file there.
            return str(_fetched(url, _open_clip_cache() / Path(urlsplit(url).path).name))
        return open_clip_weights.download_pretrained(dict(tag))
    except _Unfetched as error:
        raise _unreachable(tag, name, str(error)) from error
    except Exception as error:
        raise _unreachable(tag, name, type(error).__name__) from error


def fetch_url(url: str, key: str | None = None, digest: str | None = None) -> Path:
    """Returns the path of a file of the web, downloaded into torch's own cache if need be.

    A download is kept only if it has the length that the server stated and the sum that the caller
    or the name states, and is given up if the server falls silent or slower than 1 kB a second.

    Args:
        url: ``http(s)`` address.
        key: setting of a model that takes the path of such a file; None where the URL itself is
            the setting.
        digest: how the file's sum begins, ``'sha256:...'`` or ``'md5:...'``; None for what its name
            says, as the names of torch's hub and of OpenAI do.

    Raises:
        UserError: it is not cached and cannot be fetched; says what to do.
    """
    name = Path(urlsplit(url).path).name
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    # Two servers may use one file name.
    path = cache / hashlib.sha256(url.encode()).hexdigest()[:8] / name
    if os.path.isfile(path):
        return path
    try:
        return _fetched(url, path, digest)
    except _Unfetched as error:
        setting = 'give the path of the file instead of the URL'
        if key is not None:
            setting = f'set {key} of the model in the config to the path of the file'
        raise UserError(
            f'{url} could not be fetched ({error}); get it by other means and {setting}, or '
            f'put it at {path}'
        ) from error


def fetch_from_hub(repository: str, file: str, key: str) -> Path:
    """Returns the path of a file of a repository of the hub, fetched into the hub's own cache.

    Args:
        repository: ``'organisation/name'``.
        file: its name there.
        key: setting of a model that takes the path of such a file.

    Raises:
        UserError: the repository is not open to this user, or cannot be reached; says what to do.
        FileNotFoundError: there is no such repository, or no such file in it.
    """
    from huggingface_hub import utils

    wanted = f'{file} of {repository} on the Hugging Face hub'
    by_hand = f'set {key} of the model in the config to the path of the file'
    try:
        # Without a network the client would try again and again.
        offline = not reaches_hub()
        return Path(huggingface_hub.hf_hub_download(repository, file, local_files_only=offline))
    except utils.GatedRepoError as error:
        raise UserError(
            f'{wanted} is open to those alone who accepted its licence: do so on the page of '
            f'{repository}, log in (hf auth login), or {by_hand}'
        ) from error
    except Exception as error:
        is_none = isinstance(error, (utils.RepositoryNotFoundError, utils.EntryNotFoundError))
        if is_none and not isinstance(error, utils.LocalEntryNotFoundError):
            raise FileNotFoundError(
                f'There is no {wanted} that you may read (private ones need hf auth login): check '
                f'{key}'
            ) from error
        raise UserError(
            f'{wanted} could not be fetched ({cause_of(error)}); get it by other means and '
            f'{by_hand}'
        ) from error


class _Unfetched(Exception):
    """Why a file was not fetched, in a few words."""


def _fetched(url: str, path: Path, digest: str | None = None) -> Path:
    """The file at ``path``, fetched if it is not there whole."""
    digest = digest or _digest_in(url)
    # A file of another program's may be half a one.
    if os.path.isfile(path) and (digest is None or _has_digest(path, digest)):
        return path
    try:
        _check_address(url)
        # Also where the sentence says that the file may be put by hand.
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        request = urllib.request.Request(url, headers={'User-Agent': 'ovseg'})
        with (
            urllib.request.urlopen(request, timeout=_SILENCE) as answer,
            written_whole(path) as temporary,
        ):
            _check_address(answer.url)
            if 'html' in (answer.headers.get('Content-Type') or ''):
                raise _Unfetched(_PAGE)
            length = _stated_length(answer.headers.get('Content-Length'))
            if length is not None and length > shutil.disk_usage(path.parent).free:
                raise _Unfetched(f'its {length} bytes do not fit on the disk of {path.parent}')
            with temporary.open('wb') as file:
                got = _copy(answer, file)
            if length is not None and got != length:
                raise _Unfetched(f'the server sent {got} of {length} bytes')
            if digest is not None and not _has_digest(temporary, digest):
                raise _Unfetched(f'the file has another {digest.replace(":", " than ")}...')
            _check_content(temporary)
    except (_Unfetched, CannotWrite):
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise _Unfetched(cause_of(error)) from error
    return path


def _check_address(url: str) -> None:
    """Stops where a server sends us on to another kind of address, such as a file of this machine.

    Raises:
        _Unfetched: says which.
    """
    scheme = urlsplit(url).scheme
    if scheme not in ('http', 'https'):
        raise _Unfetched(f"'{scheme}' addresses are not fetched")


def _stated_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.strip().isdecimal():
        raise _Unfetched(f'the server states the length {text[:40]!r}')
    return int(text)


def _check_content(path: Path) -> None:
    """Stops at nothing, and at pages of sign-ins and errors under the name of the file."""
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        raise _Unfetched('the server sent an empty file')
    if _WEB_PAGE.match(start):
        raise _Unfetched(_PAGE)


def _copy(source: IO[bytes], target: IO[bytes]) -> int:
    """Copies to the end and returns the number of bytes; too slow a source is given up."""
    got, since, mark = 0, time.monotonic(), 0
    # read1 returns what has come; read would wait for a whole piece.
    while piece := source.read1(_CHUNK):  # type: ignore[attr-defined]
        target.write(piece)
        got += len(piece)
        if time.monotonic() - since > _SILENCE:
            if got - mark < _SLOWEST:
                raise _Unfetched(f'the server sent {got - mark} bytes in {_SILENCE:g} seconds')
            since, mark = time.monotonic(), got
    return got


def _digest_in(url: str) -> str | None:
    path = urlsplit(url).path
    found = _IN_FOLDER.search(path) or _IN_NAME.search(path)
    return f'sha256:{found[1]}' if found else None


def _has_digest(path: Path, digest: str) -> bool:
    kind, _, start = digest.partition(':')
    total = hashlib.new(kind, usedforsecurity=kind != 'md5')
    with path.open('rb') as file:
        while piece := file.read(_CHUNK):
            total.update(piece)
    return total.hexdigest().startswith(start)


def _open_clip_cache() -> Path:
    return Path(os.path.expanduser('~/.cache/clip'))


def reaches_hub() -> bool:
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
