"""Classes and their words, and reading them from strings and text files as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.vocabulary.palette import Color
from ovseg.vocabulary.rejection import BACKGROUND, Rejection
from ovseg.vocabulary.word_lists import (
    LONGEST_WORD,
    check_number,
    plain_separators,
    without_numbers,
)

# A prompt made of these alone that ends in an article is a template whose word was forgotten.
_ARTICLES = frozenset(('a', 'an', 'the'))
_TEMPLATE_WORDS = _ARTICLES | frozenset(
    ('of', 'my', 'one', 'this', 'is', 'there', 'in')
    + ('itap', 'photo', 'picture', 'image', 'scene')
)


@dataclass(frozen=True)
class VocabularyClass:
    """One class: what it is called and by which words CLIP is asked for it.

    Attributes:
        name: as every output shows it.
        prompts: words that go into templates, each a query of its own; commas and blanks in
            them are kept. Empty for a background that only a threshold reaches.
        color: RGB 0..255, or None for the palette's choice.
        descriptions: whole sentences that are encoded as they are, without a template.

    Raises:
        UserError: no words, empty or repeated words, a bad colour.
    """

    name: str
    prompts: tuple[str, ...]
    color: Color | None = None
    descriptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_words(self.name, 'class name', name=True)
        where = f'class {self.name!r}'
        for field in ('prompts', 'descriptions'):
            words = as_words(getattr(self, field), f'{field} of {where}')
            check_number(len(words))
            object.__setattr__(self, field, words)
        seen: set[str] = set()
        for prompt in self.prompts + self.descriptions:
            check_words(prompt, f'prompt of {where}')
            if folded(prompt) in seen:
                raise UserError(f'{where} lists {prompt!r} twice, remove one')
            seen.add(folded(prompt))
        if self.color is not None:
            object.__setattr__(self, 'color', checked_color(self.color, where))


@dataclass(frozen=True)
class ParsedWords:
    """Classes as given, the rejection rule if the source states one, and a note for its author."""

    classes: tuple[VocabularyClass, ...]
    rejection: Rejection | None = None
    note: str = ''


def folded(text: str) -> str:
    """``text`` as CLIP's tokenizer compares it: case and runs of blanks do not matter."""
    return ' '.join(text.split()).casefold()


def name_key(name: str) -> str:
    """By what class names of files and banks are found: case, blanks and ``_`` do not count.

    Args:
        name: of a class.

    Example:
        >>> name_key('Traffic_Light') == name_key('traffic  light')
        True
    """
    return folded(name.replace('_', ' '))


def as_words(value: Any, where: str) -> tuple[str, ...]:
    """A string or a sequence of strings as a tuple; anything else is an error at ``where``."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise UserError(f'{where} must be a string or a list of strings, got {value!r}')


def check_words(text: Any, where: str, name: bool = False) -> None:
    """Raise if ``text`` gives CLIP nothing to look for.

    Args:
        text: a class name or a prompt.
        where: how the message calls it.
        name: a name may read like a template ("a"), a prompt may not.

    Raises:
        UserError: not a string, empty, punctuation only, nothing but template text.
    """
    if not isinstance(text, str):
        raise UserError(f'{where} must be a string, got {text!r}')
    if len(text) > LONGEST_WORD:
        raise UserError(
            f'{where} {text[:20]!r}... has {len(text)} letters, write at most {LONGEST_WORD}'
        )
    if not text.strip():
        raise UserError(f'{where} is empty, write a word or remove it')
    if '{}' in text:
        raise UserError(f'{where} {text!r} is a template, write the word itself without {{}}')
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise UserError(f'{where} {text!r} is not valid Unicode text')
    words = re.findall(r'[^\W_]+', text.casefold())
    # Emoji and other symbols mean something to CLIP's byte tokenizer, ASCII punctuation does not.
    if not words and text.isascii():
        raise UserError(f'{where} {text!r} is nothing but punctuation, write a word')
    if not name and words and words[-1] in _ARTICLES and _TEMPLATE_WORDS.issuperset(words):
        raise UserError(f'{where} {text!r} is nothing but template text, add the word itself')


def parse_string(text: str) -> ParsedWords:
    """Classes by ``;`` or newline, synonyms by ``,``: ``"cat, kitten; sofa"``.

    Separators of other scripts count as these (``；``, ``，``, ``、``, ``،``), blank lines and
    numbers before all entries do not count, and ``traffic_light`` is asked for as "traffic light".
    Every other entry must hold a word.

    Raises:
        UserError: an empty entry (which one), a word that stands in two classes, too many words.
    """
    lines = [line for line in plain_separators(text).splitlines() if line.strip()]
    if not lines:
        raise UserError('the vocabulary is empty, write for example "cat, kitten; sofa"')
    entries = [entry for line in lines for entry in line.split(';')]
    for number, entry in enumerate(entries, 1):
        if not entry.strip():
            before = f' (after {entries[number - 2].strip()!r})' if number > 1 else ''
            raise UserError(
                f"class {number}{before} is empty, remove the extra ';' or write a word"
            )
    return _listed_classes(entries, [f'class {number + 1}' for number in range(len(entries))])


def parse_lines(text: str, path: Path) -> ParsedWords:
    """One class a line, ``#`` before comments; a single line may separate classes as a string does.

    Args:
        text: of the file.
        path: of the file, for messages.

    Raises:
        UserError: as :func:`parse_string`; a ``;`` in one of several lines.
    """
    lines = [
        (re.split(r'(?:^|\s)#', line, maxsplit=1)[0], number)
        for number, line in enumerate(plain_separators(text).splitlines(), 1)
    ]
    kept = [(words, f'{path}, line {number}') for words, number in lines if words.strip()]
    if not kept:
        raise UserError(f'vocabulary file {path} is empty, write one class a line')
    if len(kept) == 1 and ';' in kept[0][0]:
        try:
            return parse_string(kept[0][0])
        except UserError as error:
            raise UserError(f'{kept[0][1]}: {error}') from error
    for words, where in kept:
        if ';' in words:
            raise UserError(f"{where} has a ';': one class a line, synonyms by commas")
    try:
        return _listed_classes([words for words, _ in kept], [where for _, where in kept])
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f'{path}: {error}') from error


def _listed_classes(entries: Sequence[str], places: Sequence[str]) -> ParsedWords:
    """Classes of a list that people write; `places` tells messages where each entry stands."""
    words, note = without_numbers(entries)
    classes = [_split_synonyms(*entry) for entry in zip(words, places, strict=True)]
    return ParsedWords(_without_shared_words(classes), note=note)


def _split_synonyms(entry: str, where: str) -> VocabularyClass:
    names, prompts = [], []
    for number, word in enumerate(entry.split(','), 1):
        name = ' '.join(word.split())
        if not name:
            raise UserError(
                f'word {number} of {where} ({entry.strip()!r}) is empty, '
                "remove the extra ',' or write a word"
            )
        if '\t' in word.strip():
            raise UserError(
                f"word {number} of {where} ({word.strip()!r}) has a tab in it: ',' separates "
                'synonyms, and a table has to be cut to its column of words'
            )
        names.append(name)
        prompts.append(' '.join(name.replace('_', ' ').split()) or name)
        check_words(prompts[-1], f'word {number} of {where}')
    return VocabularyClass(names[0], tuple(prompts))


def _without_shared_words(classes: list[VocabularyClass]) -> tuple[VocabularyClass, ...]:
    """Refuse a word in two classes: they would tie, and the first would always win."""
    owner: dict[str, int] = {}
    for number, item in enumerate(classes, 1):
        for word in item.prompts:
            other = owner.setdefault(folded(word), number)
            if other != number:
                raise UserError(
                    f'duplicate: {word!r} stands in class {other} and in class {number}, '
                    'keep it in one'
                )
    return tuple(classes)


def check_unique_names(classes: Sequence[VocabularyClass]) -> None:
    """Raise if two classes have one name, which no output could tell apart."""
    seen: dict[str, int] = {}
    for index, item in enumerate(classes):
        first = seen.setdefault(folded(item.name), index)
        if first != index:
            hint = ' (the rejection rule puts its own at index 0)' * (
                first == 0 and folded(item.name) == BACKGROUND
            )
            raise UserError(
                f'duplicate class {item.name!r} at index {first} and {index}{hint}, '
                'rename or remove one'
            )


def checked_color(color: Any, where: str) -> Color:
    """A colour as three integers.

    Args:
        color: RGB, 0..255.
        where: how messages call its owner.

    Raises:
        UserError: it is none.
    """
    try:
        given = tuple(color)
        values = tuple(int(value) for value in given)
        exact = values == given
    except (TypeError, ValueError, OverflowError):
        values, given, exact = (), (), False
    exact = exact and not any(isinstance(value, (bool, str)) for value in given)
    if not exact or len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise UserError(f'color of {where} must be three integers from 0 to 255, got {color!r}')
    red, green, blue = values
    return red, green, blue
