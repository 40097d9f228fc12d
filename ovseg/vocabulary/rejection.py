"""What "none of these" means: the rule that sends a pixel to the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_args, overload

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
    takes ``words``. Any rule that rejects may also take classes out of an image by ``min_area``.

    Attributes:
        kind: the rule.
        threshold: probability in [0, 1]; 0 switches the comparison off.
        words: the background's prompts, only for ``threshold`` and ``background``.
        min_area: in [0, 1); a class that is the best one in no more than this share of an image's
            foreground pixels is taken out of that image, and its pixels are decided again (SCLIP
            on VOC21: 0.1). 0 takes none out. The threshold is compared afterwards.

    Raises:
        UserError: a combination that says two things at once, or a value out of range.
    """

    kind: RejectionKind = 'none'
    threshold: float = 0.0
    words: tuple[str, ...] = ()
    min_area: float = 0.0

    def __post_init__(self) -> None:
        kinds = get_args(RejectionKind)
        if self.kind not in kinds:
            raise UserError(
                f'unknown rejection kind {self.kind!r}, use one of {", ".join(kinds)}.'
                + nearest(str(self.kind), kinds)
            )
        if not _is_number(self.threshold) or not 0 <= self.threshold <= 1:
            raise UserError(
                f'rejection threshold must be a probability from 0 to 1, got {self.threshold!r}'
            )
        if not _is_number(self.min_area) or not 0 <= self.min_area < 1:
            raise UserError(
                f'rejection min_area must be a share from 0 to below 1, got {self.min_area!r}'
            )
        words = (self.words,) if isinstance(self.words, str) else tuple(self.words)
        object.__setattr__(self, 'words', words)
        object.__setattr__(self, 'threshold', float(self.threshold))
        object.__setattr__(self, 'min_area', float(self.min_area))
        for name in ('threshold', 'min_area'):
            if self.kind == 'none' and getattr(self, name) > 0:
                raise UserError(
                    f"rejection {name} {getattr(self, name)} needs kind 'threshold', "
                    "'background' or 'class_zero', got kind 'none'"
                )
        if words and self.kind in ('none', 'class_zero'):
            raise UserError(
                f"background words need rejection kind 'background' or 'threshold', "
                f'got kind {self.kind!r}'
            )
        if self.kind == 'background' and not words:
            raise UserError("rejection kind 'background' needs at least one word in `words`")

    @overload
    @classmethod
    def build(cls, source: None) -> None: ...

    @overload
    @classmethod
    def build(cls, source: Rejection | Mapping[str, Any] | str) -> Rejection: ...

    @classmethod
    def build(cls, source: Rejection | Mapping[str, Any] | str | None) -> Rejection | None:
        """The rejection rule that a config or a JSON file writes down.

        Args:
            source: a rule, its fields as a dict, the bare kind, or None.

        Returns:
            The rule, or None for None (the vocabulary then keeps its own).

        Example:
            >>> Rejection.build({'kind': 'threshold', 'threshold': 0.3})
            Rejection(kind='threshold', threshold=0.3, words=(), min_area=0.0)
        """
        if source is None or isinstance(source, Rejection):
            return source
        if isinstance(source, str):
            return cls(cast('RejectionKind', source))  # the constructor refuses others
        if not isinstance(source, Mapping):
            raise UserError(
                f'rejection must be a dict with kind, threshold and words, got {source!r}'
            )
        known = [field.name for field in fields(cls)]
        for key in source:
            if key not in known:
                raise UserError(
                    f'unknown rejection setting {key!r}, use {", ".join(known)}.'
                    + nearest(str(key), known)
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
        if self.min_area > 0:
            parts.append(f'classes of at most {self.min_area:.0%} of the foreground')
        return '; '.join(parts) or 'none'

    def to_dict(self) -> dict[str, Any]:
        """The rule as plain values that JSON holds; ``Rejection.build`` reads it back."""
        return {**asdict(self), 'words': list(self.words)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
