"""Mistakes in a config or in data, as mmengine and PyTorch raise them, said in one sentence."""

from __future__ import annotations

import errno
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry

import ovseg.registry as registries
from ovseg.datasets.coco_files import annotations_explained
from ovseg.errors import UserError, nearest

# A full, broken or read-only disk, a quota, a limit of size, a name too long, no permission.
_OF_A_DISK = {
    errno.ENOSPC,
    errno.EIO,
    errno.EROFS,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
}
# mmcv's words when OpenCV decodes nothing.
_UNREADABLE = re.compile(r'failed to load image: (.+)')
_UNKNOWN_TYPE = re.compile(r"^['\"]?(\S+) is not in the (\S+) registry")
_UNKNOWN_ARGUMENT = re.compile(
    r"^(?:\w+\.)*?(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'"
)
_MISSING_ARGUMENT = re.compile(r'^(?:\w+\.)*?(\w+)\.__init__\(\) missing \d+ required .*?: (.+)$')


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turns what mmengine and PyTorch raise about a user's config or data into a ``UserError``.

    Everything else passes unchanged: a bug keeps its traceback.

    Args:
        config: what is being run.
    """
    try:
        with annotations_explained(config):
            yield
    except (UserError, FileNotFoundError) as error:
        text = _from_worker(str(error)) or _missing_annotations(error, config)
        if text is None:
            raise
        raise UserError(text) from error
    except AssertionError as error:
        unreadable = _UNREADABLE.findall(str(error))
        if not unreadable:
            raise
        # The last one: a loader process sends its source lines along.
        raise UserError(
            f'the image {unreadable[-1]} cannot be decoded: it is cut off or no image; get it again'
        ) from error
    except OSError as error:
        if error.errno not in _OF_A_DISK:
            raise
        where = f' ({error.filename})' if error.filename else ''
        raise UserError(
            f'{error.strerror}{where}: the results cannot be written to {config.get("work_dir")}; '
            'make room or choose another --work-dir; what is there already is whole'
        ) from error
    except (KeyError, TypeError) as error:
        text = _explain(str(error.args[0]) if error.args else '', config)
        if text is None:
            raise
        raise UserError(text) from error


def _from_worker(text: str) -> str | None:
    """The message of an exception that a data loader's process sent with its traceback."""
    if 'Original Traceback' not in text:
        return None
    return text.strip().splitlines()[-1].partition(': ')[2]


def _missing_annotations(error: Exception, config: Config) -> str | None:
    """Names the data set of mmdet whose annotations are missing, which only opens them."""
    missing = getattr(error, 'filename', None)
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (config.get(part) or {}).get('dataset') or {}
        if missing and missing == os.path.join(
            dataset.get('data_root') or '', dataset.get('ann_file') or ''
        ):
            return (
                f'the annotations {missing} do not exist; set {part}.dataset.data_root and '
                '.ann_file to a file in the format of COCO, or make it first (for Scenes: '
                'tools/make_scenes.py data/scenes --instances)'
            )
    return None


def _explain(text: str, config: Config) -> str | None:
    match = _UNKNOWN_TYPE.match(text)
    if match:
        name, registry = match.groups()
        return (
            f"the config names the type '{name}', which is not among the types of {registry}."
            + nearest(name, _types_of_kind(registry))
        )
    match = _UNKNOWN_ARGUMENT.match(text)
    if match:
        kind, argument = match.groups()
        for part in _parts_of_type(config, kind):
            if argument in part:
                given = _name_of_type(part)
                return (
                    f"the config gives {given} a setting '{argument}' that it does not have."
                    + nearest(argument, _settings_of(part['type']))
                )
    match = _MISSING_ARGUMENT.match(text)
    if match and any(True for _ in _parts_of_type(config, match[1])):
        return f'the config gives {match[1]} no {match[2]}, which it needs'
    return None


def types_of(registry: Registry | None) -> set[str]:
    """The names that a config may use without a scope: the registry's own and its parents'.

    Args:
        registry: one of ``ovseg.registry``.
    """
    names: set[str] = set()
    while registry is not None:
        names |= set(registry.module_dict)
        registry = registry.parent
    return names


def _types_of_kind(registry_name: str) -> set[str]:
    wanted = registry_name.rpartition('::')[2]
    found = [getattr(registries, attribute) for attribute in registries.__all__]
    return set().union(*(types_of(registry) for registry in found if registry.name == wanted))


def _class_of(kind: Any) -> Any:
    """What a ``type`` of a config names, None if it is not registered."""
    if not isinstance(kind, str):
        return kind
    name = kind.rpartition('.')[2]
    found = (getattr(registries, attribute).get(name) for attribute in registries.__all__)
    return next((item for item in found if item is not None), None)


def _settings_of(kind: Any) -> list[str]:
    """The settings of a type, those that it hands on to the classes it extends among them."""
    kind = _class_of(kind)
    if not inspect.isclass(kind):
        return list(inspect.signature(kind).parameters) if callable(kind) else []
    makers = [vars(one)['__init__'] for one in kind.__mro__ if '__init__' in vars(one)][:-1]
    return list(dict.fromkeys(name for one in makers for name in _named_by(one)))


def _named_by(function: Any) -> list[str]:
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
    return [one.name for one in parameters if one.kind not in open_ended]


def _name_of_type(part: Mapping[str, Any]) -> str:
    named = part.get('type')
    name = named if isinstance(named, str) else getattr(named, '__name__', '')
    return name.rpartition('.')[2]


def _is_type(part: Mapping[str, Any], kind: str) -> bool:
    """Whether a part of a config is of a class, or of one that extends it and hands settings on."""
    name = _name_of_type(part)
    found = _class_of(part['type']) if name else None
    names = [one.__name__ for one in found.__mro__] if inspect.isclass(found) else [name]
    return kind in names


def _parts_of_type(config: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """All dicts of a config whose ``type`` is this class or extends it."""
    if isinstance(config, (Mapping, ConfigDict, Config)):
        if _is_type(config, kind):
            yield config
        values = config.values()
    elif isinstance(config, (list, tuple)):
        values = config
    else:
        return
    for value in values:
        yield from _parts_of_type(value, kind)
