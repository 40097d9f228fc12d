"""Fonts for any script: DejaVu Sans, a font that the user names, or one of this machine."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from ovseg.errors import notify

FONT_VARIABLE = 'OVSEG_FONT'
_DEFAULT = str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf')
# What was said already: once a font, not once a word of a vocabulary.
_said: set[str] = set()
_EAST_ASIAN = ('CJK', 'HIRAGANA', 'KATAKANA', 'HANGUL', 'BOPOMOFO')


@lru_cache(maxsize=256)
def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that can draw ``text``.

    DejaVu Sans (it comes with matplotlib: Latin, Greek, Cyrillic, Arabic, symbols) where it has all
    letters; else the file that ``$OVSEG_FONT`` names, else the first font installed on this machine
    that has them (Chinese, Japanese...). If there is none, DejaVu Sans again: it shows boxes for
    the letters that it lacks, see :func:`drawable`.

    Args:
        text: what will be drawn.
        size: in pixels.
    """
    return _open(_path_for(_letters(text), _named_font()) or _DEFAULT, size)


def drawable(text: str, instead: str) -> str:
    """``text``, or another text where no font has its letters, which is said once.

    Args:
        text: a class name.
        instead: what to draw for it; letters of Latin.

    Example:
        >>> drawable('Straße', 'class 3')
        'Straße'
    """
    named = _named_font()
    if _path_for(_letters(text), named) is not None:
        return text
    remedy = _remedy(text, named)
    if remedy not in _said:
        _said.add(remedy)
        notify(
            f'no font here has the letters of {text!r}, the picture says {instead!r} (and so on '
            f'for other words in such letters): {remedy} ${FONT_VARIABLE}'
        )
    return instead


def _remedy(text: str, named: str | None) -> str:
    letters = sorted(_letters(text) - _letters_of(_DEFAULT))
    if named is None:
        return f'install a font such as {_font_with(chr(letters[0]))}, or name its file in'
    if not _letters_of(named):
        return f'{named} cannot be read as a font, name another file in'
    return f'{named} lacks them too, name the file of {_font_with(chr(letters[0]))} in'


def _font_with(letter: str) -> str:
    """The name of a free font that has a letter, as far as its script tells."""
    if unicodedata.category(letter)[0] not in 'LM':
        return 'Noto Emoji'
    script = unicodedata.name(letter, 'UNKNOWN').split()[0]
    if script.partition('-')[0] in _EAST_ASIAN:
        return 'Noto Sans CJK'
    return f'Noto Sans {script.title()}'


def _named_font() -> str | None:
    return os.environ.get(FONT_VARIABLE) or None


def _letters(text: str) -> frozenset[int]:
    return frozenset(ord(letter) for letter in text if letter.isprintable())


@lru_cache(maxsize=64)
def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1024)
def _path_for(letters: frozenset[int], named: str | None) -> str | None:
    """The first font with all letters, or None."""
    if letters <= _letters_of(_DEFAULT):
        return _DEFAULT
    if named is not None and letters <= _letters_of(named):
        return named
    # Imported here: it scans the machine's fonts, which plain legends should not wait for.
    from matplotlib import font_manager

    for path in sorted(font_manager.findSystemFonts()):
        if letters <= _letters_of(path):
            return path
    return None


@lru_cache(maxsize=512)
def _letters_of(path: str) -> frozenset[int]:
    """Code points that a font file draws; none if it is not a scalable font that can be read."""
    try:
        ImageFont.truetype(path, 16)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
