"""Mistakes in a config or in data, as mmengine and PyTorch raise them, said in one sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from mmengine.config import Config

from ovseg.datasets.coco_files import annotations_explained
from ovseg.engine.config_parts import (
    ALWAYS,
    name_of_type,
    parts_of,
    parts_of_type,
    settings_of,
    types_of_kind,
)
from ovseg.engine.crop_sizes import batch_explained
from ovseg.errors import UserError, nearest
from ovseg.files import ERRORS_OF_WRITING

# mmcv's words when OpenCV decodes nothing.
_UNREADABLE = re.compile(r'failed to load image: (.+)')
_UNKNOWN_TYPE = re.compile(r"^['\"]?(\S+) is not in the (\S+) registry")
_UNKNOWN_ARGUMENT = re.compile(
    r"^(?:\w+\.)*?(\w+?)(\.__init__)?\(\) got an unexpected keyword argument '(\w+)'"
)
_NO_ARGUMENTS = re.compile(r'^(?:\w+\.)*?(\w+)\(\) takes no arguments')
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
            _raise_batch(error, config)
            raise
        # The last one: a loader process sends its source lines along.
        raise UserError(
            f'the image {unreadable[-1]} cannot be decoded: it is cut off or no image; get it again'
        ) from error
    except RuntimeError as error:
        _raise_batch(error, config)
        raise
    except OSError as error:
        if error.errno not in ERRORS_OF_WRITING:
            raise
        where = f' ({error.filename})' if error.filename else ''
        raise UserError(
            f'{error.strerror}{where}: the results cannot be written to {config.get("work_dir")}; '
            'make room or choose another --work-dir; what is there already is whole'
        ) from error
    except (KeyError, TypeError) as error:
        text = _explain(str(error.args[0]) if error.args else '', config, error.__traceback__)
        if text is None:
            raise
        raise UserError(text) from error


def _raise_batch(error: Exception, config: Config) -> None:
    text = batch_explained(str(error), config)
    if text is not None:
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


def _explain(text: str, config: Config, trace: TracebackType | None) -> str | None:
    match = _UNKNOWN_TYPE.match(text)
    if match:
        name, registry = match.groups()
        return (
            f"the config names the type '{name}', which is not among the types of {registry}."
            + nearest(name, types_of_kind(registry))
        )
    match = _UNKNOWN_ARGUMENT.match(text)
    if match:
        kind, of_class, argument = match.groups()
        for part in parts_of_type(config, kind) if of_class else ():
            if argument in part:
                given = name_of_type(part)
                return (
                    f"the config gives {given} a setting '{argument}' that it does not have."
                    + nearest(argument, settings_of(part['type']))
                )
        if any(argument in part for part in parts_of(config)):
            return (
                f"the config gives {kind} a setting '{argument}' that it does not have."
                + nearest(argument, settings_of(_last_known(kind, trace)))
            )
    match = _NO_ARGUMENTS.match(text)
    if match:
        for part in parts_of_type(config, match[1]):
            for name in part:
                if name not in ALWAYS:
                    return f"the config gives {match[1]} a setting '{name}', but it has none"
    match = _MISSING_ARGUMENT.match(text)
    if match and any(True for _ in parts_of_type(config, match[1])):
        return f'the config gives {match[1]} no {match[2]}, which it needs'
    return None


def _last_known(name: str, trace: TracebackType | None) -> Any:
    """What a name stood for where an error was raised, None if for nothing."""
    found = None
    while trace is not None:
        found = trace.tb_frame.f_globals.get(name, found)
        trace = trace.tb_next
    return found
