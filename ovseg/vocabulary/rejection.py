"""What "none of these" means: the rule that sends a pixel to the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ovseg.errors import UserError, nearest

RejectionKind = Literal['none', 'threshold', 'background', 'class_zero']
BACKGROUND = 'background'


@dataclass(frozen=True)
class Rejection:
    """The rule by which a pixel belongs to none of the asked classes.

    ======================  =========================================================
    kind                    meaning
    ======================  =========================================================
    ``none``                every pixel gets its best class.
    ``threshold``           a pixel whose best class probability is below ``threshold``
                            becomes background.
    ``background``          ``words`` form one more class, ``background``, at index 0;
                            a pixel where any of them wins is rejected.
    ``class_zero``          class 0 of the list is the background; its score is the
                            maximum over its prompts.
    ======================  =========================================================

    ``background`` and ``class_zero`` also obey a ``threshold`` above 0, and ``threshold`` also
    takes ``words``.

    Attributes:
        kind: the rule.
        threshold: probability in [0, 1]; 0 switches the comparison off.
        words: the background's prompts, only for ``threshold`` and ``background``.

    Raises:
        UserError: a combination that says two things at once, or a value out of range.
    """

    kind: RejectionKind = 'none'
    threshold: float = 0.0
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = get_args(RejectionKind)
        if self.kind not in kinds:
            raise UserError(
                f'unknown rejection kind {self.kind!r}, use one of {", ".join(kinds)}.'
                + nearest(str(self.kind), kinds)
            )
        is_number = isinstance(self.threshold, (int, float))
        if isinstance(self.threshold, bool) or not is_number or not 0 <= self.threshold <= 1:
            raise UserError(
                f'rejection threshold must be a probability from 0 to 1, got {self.threshold!r}'
            )
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words)
        object.__setattr__(self, 'words', words)
        object.__setattr__(self, 'threshold', float(self.threshold))
        if self.kind == 'none' and self.threshold > 0:
            raise UserError(
                f"rejection threshold {self.threshold} needs kind 'threshold', "
                "'background' or 'class_zero', got kind 'none'"
            )
        if words and self.kind in ('none', 'class_zero'):
            raise UserError(
                f"background words need rejection kind 'background' or 'threshold', "
                f'got kind {self.kind!r}'
            )
        if self.kind == 'background' and not words:
            raise UserError("rejection kind 'background' needs at least one word in `words`")

    @classmethod
    def build(cls, source: Rejection | Mapping[str, Any] | str | None) -> Rejection | None:
        """The rejection rule that a config or a JSON file writes down.

        Args:
            source: a rule, its fields as a dict, the bare kind, or None.

        Returns:
            The rule, or None for None (the vocabulary then keeps its own).

        Example:
            >>> Rejection.build({'kind': 'threshold', 'threshold': 0.3})
            Rejection(kind='threshold', threshold=0.3, words=())
        """
        if source is None or isinstance(source, Rejection):
            return source
        if isinstance(source, str):
            return cls(source)  # type: ignore[arg-type]
        if not isinstance(source, Mapping):
            raise UserError(
                f'rejection must be a dict with kind, threshold and words, got {source!r}'
            )
        fields = ('kind', 'threshold', 'words')
        for key in source:
            if key not in fields:
                raise UserError(
                    f'unknown rejection setting {key!r}, use {", ".join(fields)}.'
                    + nearest(str(key), fields)
                )
        return cls(**source)

    @property
    def rejects(self) -> bool:
        """Whether pixels can end in a background class at all."""
        return self.kind != 'none'

    def describe(self) -> str:
        """The rule in words, for protocols and tables.

        Example:
            >>> Rejection('threshold', 0.3, ('wall',)).describe()
            'the words wall; best probability below 0.3'
        """
        parts = []
        if self.kind == 'class_zero':
            parts.append('class 0, the best of its words')
        if self.words:
            parts.append(f'the words {", ".join(self.words)}')
        if self.threshold > 0:
            parts.append(f'best probability below {self.threshold:g}')
        return '; '.join(parts) or 'none'

    def to_dict(self) -> dict[str, Any]:
        """The rule as plain values that JSON holds; ``Rejection.build`` reads it back."""
        return {**asdict(self), 'words': list(self.words)}
