"""Words that the models of Scenes know: those of its captions, and sentences around them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache

from ovseg.scenes.captions import CAPTION_WORDS
from ovseg.scenes.world import COLORS, MATERIALS, OBJECTS
from ovseg.vocabulary import TEMPLATE_SETS, get_templates

_WORD = re.compile(r'[^\W_]+')


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case.

    Example:
        >>> words_of('A red star, on the grass.')
        ['a', 'red', 'star', 'on', 'the', 'grass']
    """
    return _WORD.findall(text.casefold())


def unknown_words(prompts: Iterable[str]) -> list[str]:
    """Words that no caption of Scenes ever had, in their order, each once.

    New pairs of known words are known. The words of sentence templates count as known beside a word
    of the world ("a tattoo of a star"), not alone ("tattoo").

    Args:
        prompts: what is asked for; symbols without a letter are quoted as they are.

    Example:
        >>> unknown_words(['red star', 'a photo of a zebra', 'stars'])
        ['zebra', 'stars']
    """
    unknown: list[str] = []
    for prompt in prompts:
        words = words_of(prompt)
        beside = _filler_words() if _content_words().intersection(words) else frozenset()
        unknown += [word for word in words if word not in CAPTION_WORDS and word not in beside]
        unknown += [prompt.strip()] * (not words)
    return list(dict.fromkeys(unknown))


def other_things(prompts: Collection[str]) -> list[str]:
    """What else there is in Scenes: names of materials and objects that share no word with prompts.

    Args:
        prompts: what is asked for.

    Example:
        >>> other_things(['red star', 'grass', 'brick wall'])[:4]
        ['sky', 'sand', 'water', 'snow']
    """
    asked = {word for prompt in prompts for word in words_of(prompt)}
    return [name for name in (*MATERIALS, *OBJECTS) if not asked.intersection(words_of(name))]


def known_names() -> Sequence[str]:
    """The words that say something: colours, objects and materials."""
    return (*COLORS, *OBJECTS, *MATERIALS)


@cache
def _content_words() -> frozenset[str]:
    return frozenset(word for name in known_names() for word in words_of(name))


@cache
def _filler_words() -> frozenset[str]:
    return frozenset(
        word
        for name in TEMPLATE_SETS
        for template in get_templates(name)
        for word in words_of(template)
    )
