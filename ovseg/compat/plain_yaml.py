"""YAML files of mmengine read as data: its own loader builds any Python object that a tag names.

Goes when mmengine itself reads YAML safely.
"""

from __future__ import annotations

from typing import Any, NoReturn

import yaml
from mmengine.fileio.handlers import yaml_handler

from ovseg.errors import UserError

# What Config.dump writes for a tuple.
_TUPLE = 'tag:yaml.org,2002:python/tuple'


class PlainLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """Numbers, text, lists, tables and tuples; nothing else."""


def _tuple(loader: Any, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


def _refuse(loader: Any, node: yaml.Node) -> NoReturn:
    raise UserError(
        f"line {node.start_mark.line + 1} of a YAML file asks for '{node.tag}', which would run "
        'code; write plain values there, or a .py config, which is code and looks like it'
    )


PlainLoader.add_constructor(_TUPLE, _tuple)
PlainLoader.add_constructor(None, _refuse)


def install() -> None:
    """Has mmengine read every YAML file by :class:`PlainLoader`; a second call changes nothing."""
    yaml_handler.Loader = PlainLoader
