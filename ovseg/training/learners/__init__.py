"""What a light training on frozen features learns: contexts, rows, adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovseg.errors import UserError, nearest
from ovseg.training.learners.contexts import ContextLearner
from ovseg.training.learners.learner import Learner, Teachings
from ovseg.training.learners.rows import FeatureLearner, RowLearner, SentenceLearner

LEARNERS: dict[str, type[Learner]] = {
    'contexts': ContextLearner,
    'rows': RowLearner,
    'features': FeatureLearner,
    'sentences': SentenceLearner,
}


def build_learner(config: Mapping[str, Any], teachings: Teachings) -> Learner:
    """The learner that a config names.

    Args:
        config: ``kind``, a key of :data:`LEARNERS`, and the arguments of that class.
        teachings: what it starts from.

    Raises:
        UserError: unknown kind or argument.
    """
    settings = dict(config)
    kind = settings.pop('kind', None)
    if kind not in LEARNERS:
        raise UserError(
            f'model.learner.kind must be one of {list(LEARNERS)}, got {kind!r}.'
            + nearest(str(kind), LEARNERS)
        )
    try:
        return LEARNERS[kind](teachings, **settings)
    except TypeError as error:
        raise UserError(f'model.learner: {error}') from error


__all__ = [
    'LEARNERS',
    'ContextLearner',
    'FeatureLearner',
    'Learner',
    'RowLearner',
    'SentenceLearner',
    'Teachings',
    'build_learner',
]
