"""What the limits of a rejection rule were fitted on, and where else they mean something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from ovseg.errors import UserError, notify
from ovseg.exact_digits import exact

# What moves scores and leaves their scale what it is: told, and not refused.
TOLD = (
    *('mode', 'window', 'stride', 'padding', 'regions'),
    *('templates', 'descriptions', 'name_share', 'experts', 'examples', 'bank'),
)
_NUMBERS = ('classes', 'scale', 'images')
_AGAIN = 'fit it again with ovseg calibrate'
_SHOWN = 3


@dataclass(frozen=True)
class Fitting:
    """What a limit was fitted on: it says little of other classes, and nothing of another scale.

    Attributes:
        classes: how many classes competed, a background of words included.
        scale: factor of the scores before the softmax.
        images: how many labelled images were looked at; 0 where that is not known.
        names: of the classes that competed; () where they are not known.
        scores: facts of the model on which its scores depend, sorted pairs of name and value; ()
            where they are not known. See :func:`~ovseg.segmentors.fitted_rules.score_facts`.
    """

    classes: int
    scale: float
    images: int = 0
    names: tuple[str, ...] = ()
    scores: tuple[tuple[str, str], ...] = ()

    @classmethod
    def build(cls, source: Fitting | Mapping[str, Any]) -> Fitting:
        """A fitting as a config or a JSON file writes it down.

        Args:
            source: it, or its fields as a dict.

        Raises:
            UserError: unknown or missing fields, or no numbers above 0.
        """
        if isinstance(source, Fitting):
            return source
        known = {field.name for field in fields(cls)}
        if not isinstance(source, Mapping) or not {'classes', 'scale'} <= set(source) <= known:
            raise UserError(
                'rejection fitted must say classes and scale (and images, names and scores), got '
                f'{source!r}'
            )
        numbers = {name: source[name] for name in _NUMBERS if name in source}
        if not all(is_number(value) and value >= 0 for value in numbers.values()):
            raise UserError(f'rejection fitted must hold numbers from 0 on, got {source!r}')
        names, scores = source.get('names', ()), source.get('scores', {})
        are_names = isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
        if not are_names or not isinstance(scores, Mapping):
            raise UserError(
                'rejection fitted must hold names as a list and scores as a table, got '
                f'{names!r} and {scores!r}'
            )
        pairs = sorted((str(name), str(value)) for name, value in scores.items())
        return cls(**numbers, names=tuple(names), scores=tuple(pairs))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON holds; what is not known is left out."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        if self.names:
            found['names'] = list(self.names)
        if self.scores:
            found['scores'] = dict(self.scores)
        return found

    @property
    def is_full(self) -> bool:
        """Whether another question or another model would be noticed."""
        return bool(self.names and self.scores)

    def check_scale(self, scale: float) -> None:
        """Stops at another scale, under which all probabilities and energies are others.

        Args:
            scale: factor of the scores before the softmax.

        Raises:
            UserError: it is not the scale of the fitting.
        """
        if abs(scale - self.scale) > 1e-3 * max(1.0, abs(self.scale)):
            raise UserError(
                f'the rejection rule was fitted at a scale (logit_scale) of {exact(self.scale)}, '
                f'and here it is {exact(round(scale, 4))}: its limits mean nothing here; {_AGAIN}'
            )

    def check_number(self, classes: int) -> None:
        """Says, once, that another number of classes competes, where their names are not known.

        Args:
            classes: how many compete.
        """
        if not self.names and classes != self.classes:
            _doubt((f'for {self.classes} classes, and {classes} are asked for',))

    def check(self, names: Sequence[str], scores: Mapping[str, str]) -> None:
        """Stops at scores of another kind; says what else is another.

        Args:
            names: of the classes that compete.
            scores: facts as :attr:`scores` holds them.

        Raises:
            UserError: another model, method or rule of examples makes the scores.

        Warns:
            Notice: other classes, or settings that move the scores.
        """
        from ovseg.vocabulary.parsing import name_key  # which reads rules itself

        others = [] if not self.scores else _others(dict(self.scores), scores)
        refused = [said for name, said in others if name not in TOLD]
        if refused:
            raise UserError(
                f'the rejection rule was fitted with {"; with ".join(refused)}: scores of another '
                f'scale, of which its limits say nothing; {_AGAIN}'
            )
        parts = [f'with {said}' for _, said in others]
        if self.names:
            known, asked = ({name_key(name): name for name in own} for own in (self.names, names))
            more = [name for key, name in asked.items() if key not in known]
            gone = [name for key, name in known.items() if key not in asked]
            more_said = [f'here also {_some(more)}'] if more else []
            gone_said = [f'here without {_some(gone)}'] if gone else []
            if more or gone:
                parts.insert(0, f'for other classes ({", ".join(more_said + gone_said)})')
        if parts:
            _doubt(tuple(parts))


def is_number(value: object) -> bool:
    """Whether a value of a config is a number, and not a truth value.

    Args:
        value: as written down.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _others(fitted: Mapping[str, str], here: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name of each fact that differs, and a sentence's part on it."""
    found = []
    for name in sorted({*fitted, *here}):
        before, now = (facts.get(name, 'none') for facts in (fitted, here))
        if before != now:
            found.append((name, f'{name.replace("_", " ")} {before!r}, and here it is {now!r}'))
    return found


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ', '.join(listed[:_SHOWN]) + (', ...' if len(listed) > _SHOWN else '')


@lru_cache(maxsize=256)  # once a question, not once an image
def _doubt(parts: tuple[str, ...]) -> None:
    notify(
        f'The rejection rule was fitted {"; and ".join(parts)}: its limits mean something else '
        f'here; {_AGAIN}.'
    )
