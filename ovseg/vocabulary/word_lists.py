"""Lists of words as people write them: separators of any script, numbers before the words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ovseg.errors import UserError
from ovseg.input_files import decoded, regular_file

# All of Unicode's semicolons and commas that stand between words, not over letters.
SEMICOLONS = ';\u037e\u061b\u1364\u204f\u2e35\ua6f6\ufe14\ufe54\uff1b'
COMMAS = (
    ',\u055d\u060c\u07f8\u1363\u1802\u1808\u2e32\u2e34\u2e41\u2e49\u2e4c\u3001\ua4fe'
    '\ua60d\ua6f5\ufe10\ufe11\ufe50\ufe51\uff0c\uff64'
)
# Marks that show nothing: of the byte order, of directions, of places where a line may break.
_INVISIBLE = '\ufeff\u200b\u2060\u00ad\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e' + ''.join(
    map(chr, range(0x2066, 0x206A))
)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys(SEMICOLONS, ';'),
        **dict.fromkeys(COMMAS, ','),
        **dict.fromkeys(_INVISIBLE, None),
    }
)
# "0: sky", "1. sky", "(2) sky", "3 - sky", "4, sky" and "5<tab>sky"; not "1.5 m" and not "1:2".
_NUMBERED = re.compile(r'\s*[(\[]?(\d{1,9})(?:\s*[:\uff1a.\uff0e)\],](?!\d)|\s+[-=]\s|\t)\s*(?=\S)')
_NUMBER_AND_BLANK = re.compile(r'\s*(\d{1,9})\s+(?=\S)')
_BULLET = re.compile(r'\s*[-*\u2022\u00b7]\s+(?=\S)')
# From so many rising numbers on, "12 cat" is the thirteenth class and not a dozen of cats.
_RISING = 3

MOST_WORDS = 50_000
MOST_LETTERS = 5_000_000
LONGEST_WORD = 10_000
_LARGEST_FILE = 16 * 2**20


def plain_separators(text: str) -> str:
    """A text with ``;`` and ``,`` for separators of every script, without marks that show nothing.

    Args:
        text: as typed.

    Raises:
        UserError: more letters or words than any list has.

    Example:
        >>> plain_separators('天空；草地，草坪')
        '天空;草地,草坪'
    """
    if len(text) > MOST_LETTERS:
        raise UserError(
            f'{len(text)} letters are more than a vocabulary may have ({MOST_LETTERS}), '
            'split it into several'
        )
    text = text.translate(_PLAIN)
    check_number(1 + sum(text.count(mark) for mark in ';,\n\r'))
    return text


def check_number(words: int) -> None:
    """Raise before any work is done for more words than a vocabulary may have.

    Args:
        words: how many, with those that may yet turn out to be empty.

    Raises:
        UserError: more than ``MOST_WORDS``.
    """
    if words > MOST_WORDS:
        raise UserError(
            f'{words} words are more than a vocabulary may have ({MOST_WORDS}), split it into '
            'several'
        )


def without_numbers(entries: Sequence[str]) -> tuple[list[str], str]:
    """Entries of a list without the numbers or bullets before them, and what is to be said of it.

    ``12 cat`` is numbered in a list of rising numbers only: it may also mean a dozen.

    Args:
        entries: one a class; separators of synonyms still inside.

    Raises:
        UserError: some are numbered and others are not.

    Example:
        >>> without_numbers(['- cat', '- dog'])
        (['cat', 'dog'], '')
    """
    bullets = [_BULLET.match(entry) for entry in entries]
    if all(bullets):
        return [_BULLET.sub('', entry, count=1) for entry in entries], ''
    found = [_NUMBERED.match(entry) for entry in entries]
    if not any(found):
        found = [_NUMBER_AND_BLANK.match(entry) for entry in entries]
        if not _rise([int(match[1]) for match in found if match], len(entries)):
            return list(entries), ''
    numbers = [match[1] for match in found if match]
    if len(numbers) < len(entries):
        if len(numbers) == 1:
            return list(entries), ''  # "1. FC" is a name
        other = found.index(None)
        example = next(entry for entry, match in zip(entries, found, strict=True) if match)
        raise UserError(
            f'class {other + 1} ({entries[other].strip()!r}) is not numbered as others are, such '
            f'as {example.strip()!r}: number all or none'
        )
    words = [entry[match.end() :] for entry, match in zip(entries, found, strict=True) if match]
    return words, numbers_left_out(numbers[0], numbers[-1])


def numbers_left_out(first: object, last: object) -> str:
    """What is said of numbers before words.

    Args:
        first: of the numbers.
        last: of the numbers.
    """
    return (
        f'The numbers before the words ({first} to {last}) are no part of them and are left out: '
        'labels count from 0, in the order of the list.'
    )


def _rise(numbers: Sequence[int], entries: int) -> bool:
    """Whether all entries have numbers that count: on from one another, or at least upwards."""
    steps = [later - earlier for earlier, later in zip(numbers, numbers[1:], strict=False)]
    if len(numbers) < entries or not steps:
        return False
    return all(step == 1 for step in steps) or (len(numbers) >= _RISING and min(steps) > 0)


def read_text(path: Path, what: str) -> str:
    """The text of a small file, whichever way an editor marked its encoding.

    Args:
        path: a file in UTF-8, or in UTF-16 with its mark at the start.
        what: how messages call it.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: something else lies there, another encoding, or too large for a list of words.
    """
    path = regular_file(path, what)
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise UserError(
                f'{what} {path} has {size} bytes, more than a list of words may have '
                f'({_LARGEST_FILE})'
            )
        return decoded(path.read_bytes())
    except UnicodeDecodeError as error:
        raise UserError(f'{what} {path} is not UTF-8 text, save it as UTF-8') from error
    except OSError as error:
        raise UserError(f'{what} {path} cannot be read: {error.strerror}') from error
