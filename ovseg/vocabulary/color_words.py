"""The colour that words name: "red star" is red, "wooden floor" brown, "grass" green."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovseg.vocabulary.color_table import (
    COLOR_WORDS,
    MATERIAL_WORDS,
    SHADE_WORDS,
    THING_COLORS,
    Color,
)

_THINGS: dict[str, Color] = {
    word: color for color, words in THING_COLORS for word in words.split(', ')
}
# A colour that is said goes before one that a thing has, and what is above us before what we eat.
_RANKS: dict[Color, int] = {
    color: rank
    for rank, color in enumerate(
        dict.fromkeys([*(color for color, _ in THING_COLORS), *MATERIAL_WORDS.values()]), 1
    )
}
_LONGEST_PHRASE = 3
# What follows one of these says where or with what a thing is, not which thing it is.
_PREPOSITIONS = frozenset(
    ('of', 'on', 'in', 'at', 'with', 'by', 'near', 'under', 'over', 'behind', 'for', 'from', 'to')
)
# Benchmarks put them behind the thing: "sky-other-merged".
_FILLERS = frozenset(('other', 'others', 'merged', 'stuff', 'things'))


@dataclass(frozen=True)
class NamedColor:
    """A colour that words name.

    Attributes:
        color: RGB in [0, 255].
        lighter: how much lighter than this it is said to be, in OKLab's lightness ("dark blue").
        rank: who has the first choice of tones: 0 where a colour word says it ("red star"), more
            for what a thing happens to be.
    """

    color: Color
    lighter: float = 0.0
    rank: int = 0


def named_color(name: str, synonyms: Sequence[str] = ()) -> NamedColor | None:
    """The colour that a class's words name, or None.

    The name decides. Where it says nothing, synonyms do if they agree: "star, red star, blue star"
    has no colour.

    Args:
        name: of the class.
        synonyms: its other words.

    Example:
        >>> named_color('dark red star')
        NamedColor(color=(214, 34, 40), lighter=-0.14, rank=0)
        >>> named_color('grass').color, named_color('wall-brick').color, named_color('water bottle')
        ((86, 160, 50), (160, 80, 60), None)
    """
    found = _color_of(name)
    if found is not None:
        return found
    others = {_color_of(word) for word in synonyms} - {None}
    return others.pop() if len(others) == 1 else None


def _color_of(phrase: str) -> NamedColor | None:
    # Names of data sets list words: "earth, ground".
    for part in phrase.split(','):
        words = [word for word in re.findall(r'[^\W\d_]+', part.casefold()) if word not in _FILLERS]
        found = _color_said(words) or _color_of_thing(words)
        if found is not None:
            return found
    return None


def _color_said(words: Sequence[str]) -> NamedColor | None:
    for start in range(len(words)):
        for length in range(min(_LONGEST_PHRASE, len(words) - start), 0, -1):
            color = COLOR_WORDS.get(' '.join(words[start : start + length]))
            if color is not None:
                before = words[start - 1] if start else ''
                return NamedColor(color, SHADE_WORDS.get(before, 0.0))
    return None


def _color_of_thing(words: Sequence[str]) -> NamedColor | None:
    """By what it is made of, else by its head: the last words before a preposition."""
    whole = _look_up(words, _THINGS)
    if whole is not None:
        return _of_thing(whole)
    end = next((at for at, word in enumerate(words) if at and word in _PREPOSITIONS), len(words))
    head = words[:end]
    # A material says more than the thing does: a "dirt road" is no grey road. Alone it is a thing.
    for word in head if len(head) > 1 else ():
        if word in MATERIAL_WORDS:
            return _of_thing(MATERIAL_WORDS[word])
    for length in range(min(_LONGEST_PHRASE, len(head)), 0, -1):
        color = _look_up(head[-length:], _THINGS)
        if color is not None:
            return _of_thing(color)
    if len(head) == 1 and head[0] in MATERIAL_WORDS:
        return _of_thing(MATERIAL_WORDS[head[0]])
    # "A photo of the sky", "a body of water".
    if end < len(words) and words[end] == 'of':
        return _color_of_thing(words[end + 1 :])
    return None


def _of_thing(color: Color) -> NamedColor:
    return NamedColor(color, rank=_RANKS[color])


def _look_up(words: Sequence[str], table: Mapping[str, Color]) -> Color | None:
    """The entry of a phrase, in the singular if its plural has none."""
    if not words:
        return None
    *before, last = words
    for ending in (last, *_singulars(last)):
        color = table.get(' '.join([*before, ending]))
        if color is not None:
            return color
    return None


def _singulars(word: str) -> list[str]:
    forms = []
    if word.endswith('ies'):
        forms.append(word[:-3] + 'y')
    if word.endswith('es'):
        forms.append(word[:-2])
    if word.endswith('s'):
        forms.append(word[:-1])
    return forms
