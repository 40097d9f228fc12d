"""The config of a saved model: plain values in JSON, of which nothing is executed.

A saved model is a folder with ``ovseg.json`` (this), ``model.safetensors`` (all weights) and a
card, ``README.md``. It needs no other file, and names none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError
from ovseg.input_files import read_json

if TYPE_CHECKING:
    from mmengine.config import Config

CONFIG, WEIGHTS, CARD = 'ovseg.json', 'model.safetensors', 'README.md'
FORMAT = 'ovseg model 1'
_KEYS = ('model', 'resize')
# Settings that have code imported, or files of others read.
_REFUSED = ('_base_', 'custom_imports', 'init_cfg', 'load_from', 'resume_from', 'cache_dir')
_FILE_SUFFIXES = (
    *('.pt', '.pth', '.bin', '.safetensors', '.npz', '.npy', '.py', '.pkl', '.json', '.txt'),
)
# Weights that every installation of ovseg has.
_SHIPPED = ('ovseg://', 'embedded:')
# Weights that come from nowhere: the folder's own replace them.
_MADE_HERE = ('random', 'embedded')
# An address, or what open_clip takes for one: `hf-hub:name/of`, `local-dir:path`.
_ADDRESS = re.compile(r'[A-Za-z][\w.+-]*:\S')


def is_saved_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a saved model.

    Args:
        path: as typed by a person.
    """
    return os.path.isfile(os.path.join(os.path.expanduser(path), CONFIG))


def read_saved_config(path: Path) -> Config:
    """The config of a saved model, with ``saved`` for what its file says beside.

    Args:
        path: of the ``ovseg.json``.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is cut off, of another format, or has settings that a saved model has not.
    """
    from mmengine.config import Config

    from ovseg.registry import MODELS

    content = read_json(path, 'saved model')
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        found = content.get('format') if isinstance(content, dict) else None
        raise UserError(
            f'{path} is of the format {found!r}, and this ovseg reads {FORMAT!r}: get the model '
            'again, or a newer ovseg.'
        )
    settings = content.get('config')
    if not isinstance(settings, dict) or 'model' not in settings:
        raise UserError(f'{path} has no config with a model; get it again.')
    for key in settings:
        if key not in _KEYS:
            raise UserError(f'{path} has config.{key}, which no saved model has.')
    for key in _KEYS:
        if not isinstance(settings.get(key), Mapping | None):
            raise UserError(
                f'{path}: config.{key} is {settings[key]!r}, no settings; get it again.'
            )
    MODELS.import_from_location()
    try:
        for place, reason in foreign_settings(settings, 'config'):
            raise UserError(f'{path}: {place} {reason}, which no saved model does.')
        facts = {key: value for key, value in content.items() if key != 'config'}
        return Config({**settings, 'saved': facts}, filename=str(path))
    except RecursionError as error:
        raise UserError(f'{path} has settings in settings without end; get it again.') from error


def foreign_settings(settings: Any, place: str) -> Iterator[tuple[str, str]]:
    """Settings that would have code or files of others read: where, and what they do.

    Args:
        settings: of a model, plain values.
        place: the name of the settings.
    """
    if isinstance(settings, Mapping):
        for name, part in settings.items():
            if part is not None and (name in _REFUSED or str(name).startswith('_')):
                yield f'{place}.{name}', 'names code or files to read'
            if name == 'type' and not _is_registered(part):
                yield f'{place}.{name}', f'is {part!r}, no part that ovseg has registered'
            if name == 'pretrained' and isinstance(part, str) and not _is_here(part):
                yield f'{place}.{name}', f'names a file or weights elsewhere ({part})'
            elif name in _READERS and isinstance(part, str):
                if _READERS[name](part):
                    yield f'{place}.{name}', f'names a file ({part})'
            elif name != 'vocabulary':  # words, whatever they look like
                yield from foreign_settings(part, f'{place}.{name}')
    elif isinstance(settings, list | tuple):
        for number, part in enumerate(settings):
            yield from foreign_settings(part, f'{place}[{number}]')
    elif isinstance(settings, str) and _names_a_file(settings):
        yield place, f'names a file ({settings})'


def _is_here(weights: str) -> bool:
    return weights in _MADE_HERE or weights.startswith(_SHIPPED)


def _names_a_file(text: str) -> bool:
    if text.startswith(_SHIPPED):
        return False
    is_path = text.startswith('~') or '..' in Path(text).parts or os.path.isabs(text)
    is_address = '://' in text or _ADDRESS.match(text) is not None
    return is_path or is_address or text.lower().endswith(_FILE_SUFFIXES) or '{{' in text


# Settings whose texts are read from a file where they look like one, by rules of their own.
_READERS: Mapping[str, Callable[[str], bool]] = {
    'templates': lambda text: '{}' not in text and (text.lower().endswith('.txt') or '/' in text),
    'vocabulary': lambda words: ';' not in words and bool(Path(words.strip()).suffix),
}


def _is_registered(name: Any) -> bool:
    """Whether a name is one of our registry's or of those that it builds on.

    Names with dots are none: mmengine imports what they name, whatever it is.
    """
    from ovseg.registry import MODELS

    registry = MODELS
    while isinstance(name, str) and registry is not None:
        if name in registry.module_dict:
            return True
        registry = registry.parent
    return False


def without_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model whose weights come from elsewhere: none that it names are loaded first.

    Networks whose weights ship with ovseg keep them, since their settings do.

    Args:
        settings: of a model, plain values.

    Example:
        >>> without_files({'clip': {'model': 'ViT-B-16', 'pretrained': 'openai'}})
        {'clip': {'model': 'ViT-B-16', 'pretrained': 'random'}}
    """
    kept: dict[str, Any] = {}
    for name, part in settings.items():
        is_shipped = isinstance(part, str) and part != 'random' and _is_here(part)
        if name == 'init_cfg':
            kept[name] = None
        elif isinstance(part, Mapping):
            kept[name] = without_files(part)
        elif name == 'pretrained' and part is not None and not is_shipped and 'model' in settings:
            kept[name] = 'random'
        elif name in ('adapted', 'weights') and isinstance(part, str) and not is_shipped:
            kept[name] = None
        elif name != 'cache_dir':  # of the machine where it was saved
            kept[name] = part
    return kept
