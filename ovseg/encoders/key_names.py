"""Parameter names of one format in another, by a table of patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable

Names = Iterable[tuple[str, str]]


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
            parts = iter(match.groups())
            return re.sub(r'\{\}|\*', lambda _, parts=parts: next(parts), target)
    return None


def inverse(names: Names) -> list[tuple[str, str]]:
    """The table for the way back."""
    return [(target, source) for source, target in names]
