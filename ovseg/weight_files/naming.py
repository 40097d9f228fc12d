"""Names of weights: tables from one format to another, and prefixes that wrappers put."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from ovseg.errors import UserError

# Of a table: (pattern, other name), see `rename`.
Names = Iterable[tuple[str, str]]

_Value = TypeVar('_Value')

# Names that nobody gives a module of his own: torch.compile, FSDP, activation checkpointing.
_INSIDE = re.compile(
    r'(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
# DataParallel, DistributedDataParallel and AveragedModel; only in front.
_IN_FRONT = 'module.'
# A module of Lightning around the model; only in front of all names.
_LIGHTNING = 'model.'
# AveragedModel's count of what it averaged.
_COUNT = 'n_averaged'


def rename(key: str, names: Names) -> str | None:
    """The key's other name, or None where the table has none.

    Args:
        key: a parameter's name.
        names: (pattern, other name), the first that fits counts. ``{}`` stands for a number and
            ``*`` for the rest; both stay as they are.

    Example:
        >>> rename('layers.3.norm1.bias', [('layers.{}.norm1.*', 'stages.{}.first.*')])
        'stages.3.first.bias'
    """
    for source, target in names:
        pattern = re.escape(source).replace(r'\{\}', r'(\d+)').replace(r'\*', r'(.+)')
        match = re.fullmatch(pattern, key)
        if match:
            return _filled(target, iter(match.groups()))
    return None


def _filled(target: str, parts: Iterator[str]) -> str:
    return re.sub(r'\{\}|\*', lambda _: next(parts), target)


def inverse(names: Names) -> list[tuple[str, str]]:
    """The table for the way back."""
    return [(target, source) for source, target in names]


def without_wrappers(state: Mapping[str, _Value], origin: object) -> dict[str, _Value]:
    """Names as they are without the wrappers of torch in which a model was saved.

    Those are data-parallel training, averaging, compiling, sharding and activation checkpointing,
    in each other in any order, and compiling and sharding of parts of a model, too.

    Args:
        state: values by name.
        origin: where they come from, for the message.

    Raises:
        UserError: two names become one.

    Example:
        >>> without_wrappers({'module._orig_mod.head.weight': 1, 'n_averaged': 5}, 'a file')
        {'head.weight': 1}
        >>> without_wrappers({'module.model._orig_mod.head.weight': 1}, 'a file')
        {'head.weight': 1}
    """
    is_averaged = _COUNT in state and all(
        name == _COUNT or name.startswith(_IN_FRONT) for name in state
    )
    shorts = {name: _without_front(_INSIDE.sub('', name)) for name in state}
    if is_averaged:
        del shorts[_COUNT]
    # All of the names, or it is a part of ours.
    while shorts and all(short.startswith(_LIGHTNING) for short in shorts.values()):
        shorts = {
            name: _without_front(short.removeprefix(_LIGHTNING)) for name, short in shorts.items()
        }
    plain: dict[str, _Value] = {}
    for name, short in shorts.items():
        if short in plain:
            raise UserError(
                f"{origin} has '{short}' twice, with and without the prefix of a wrapper such as "
                'DataParallel; give a file of one model'
            )
        plain[short] = state[name]
    return plain


def _without_front(name: str) -> str:
    while name.startswith(_IN_FRONT):
        name = name.removeprefix(_IN_FRONT)
    return name
