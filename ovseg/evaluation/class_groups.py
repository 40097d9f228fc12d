"""Scores of a part of the classes: seen and unseen ones, things, stuff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ovseg.errors import UserError, nearest


def chosen_classes(
    members: Sequence[str], classes: Sequence[str], group: str
) -> npt.NDArray[np.bool_]:
    """(K,) whether a class is in a group.

    Args:
        members: names of the group's classes.
        classes: all, in label order.
        group: its name, for the message.

    Raises:
        UserError: a name that is no class.

    Example:
        >>> chosen_classes(['b'], ['a', 'b'], 'unseen').tolist()
        [False, True]
    """
    unknown = [name for name in members if name not in classes]
    if unknown:
        raise UserError(
            f'group {group!r} of the evaluator names {unknown[0]!r}, which is no class of '
            f'the data set.{nearest(unknown[0], classes)}'
        )
    return np.isin(np.asarray(classes, dtype=object), list(members))


def label_chosen(scores: Mapping[str, float], part: str) -> dict[str, float]:
    """Scores under names that say what they are averaged over.

    Example:
        >>> label_chosen({'PQ': 50.0}, 'unseen')
        {'PQ_unseen': 50.0}
    """
    return {f'{name}_{part}': value for name, value in scores.items()}


def number_or_none(value: float) -> float | None:
    """A number as JSON has it: None for NaN."""
    return None if value != value else value
