"""Fonts for legends in any script: DejaVu Sans, or a font of this machine that has the letters."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_DEFAULT = str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf')


@lru_cache(maxsize=256)
def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that can draw ``text``.

    DejaVu Sans (it comes with matplotlib: Latin, Greek, Cyrillic, Arabic, symbols) where it has all
    letters; else the first font installed on this machine that has them (Chinese, Japanese...).
    If there is none, DejaVu Sans again: it shows boxes for the letters that it lacks.

    Args:
        text: what will be drawn.
        size: in pixels.
    """
    return _open(_path_for(frozenset(ord(letter) for letter in text if letter.isprintable())), size)


@lru_cache(maxsize=64)
def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=256)
def _path_for(letters: frozenset[int]) -> str:
    if letters <= _letters_of(_DEFAULT):
        return _DEFAULT
    # Imported here: it scans the machine's fonts, which plain legends should not wait for.
    from matplotlib import font_manager

    for path in sorted(font_manager.findSystemFonts()):
        if letters <= _letters_of(path):
            return path
    return _DEFAULT


@lru_cache(maxsize=512)
def _letters_of(path: str) -> frozenset[int]:
    """Code points that a font file draws; none if it is not a scalable font that can be read."""
    try:
        ImageFont.truetype(path, 16)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
