"""Colours of classes: those given, those that their words name, the rest far apart from all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ovseg.vocabulary.color_table import Color
from ovseg.vocabulary.color_words import NamedColor, named_color
from ovseg.vocabulary.palette import (
    COARSE_STEP,
    NEUTRALS,
    STEPS,
    make_palette,
    oklab_steps,
    rgb_lattice,
)

if TYPE_CHECKING:
    from ovseg.vocabulary.parsing import VocabularyClass

Coordinates = npt.NDArray[np.int64]

# What photographs are mostly made of: greys, sky, foliage, soil, sand, skin, water. Paint of these
# colours would be taken for the picture.
_IN_PICTURES: tuple[Color, ...] = (
    *NEUTRALS,
    (64, 64, 64),
    (192, 192, 192),
    (150, 190, 225),
    (60, 80, 40),
    (120, 140, 70),
    (120, 95, 70),
    (190, 170, 135),
    (205, 150, 125),
    (60, 100, 120),
)
# Distances in OKLab. A colour that is nearer than the first to one in use gives way to another tone
# of its hue: the nearest that is as far from all in use as the first of the rest that can be kept.
_NEAR = 0.10
_TELLABLE = (0.14, 0.12, 0.09, 0.06)
# Tones of a hue: how far they go in lightness, hue (its cosine) and chroma (as a factor).
_LIGHTER_OR_DARKER, _GREY_LIGHTER_OR_DARKER = 0.2, 0.3
_SAME_HUE = 0.966
_CHROMA = (0.6, 1.4)
_DARKEST, _LIGHTEST = 0.28, 0.97
_GREY = 0.04
# A tone keeps its hue and chroma rather than its lightness: a darker red is no brown.
_HUE_FIRST = np.array([1, 3, 3])


def class_colors(classes: Sequence[VocabularyClass]) -> list[Color]:
    """One colour a class.

    A class that has a colour keeps it. One whose words name a colour, or a thing with a typical
    one, is drawn in it ("red star", "grass"); the second red is another tone of red. When all
    tellable tones of a hue are taken, and where words name nothing, a class takes the colour that
    is farthest from all in use and from what pictures are made of.

    The same classes have the same colours on every machine.

    Args:
        classes: in label order.

    Example:
        >>> from ovseg.vocabulary.parsing import VocabularyClass
        >>> words = ('red star', 'cat', 'grass')
        >>> class_colors([VocabularyClass(word, (word,)) for word in words])
        [(214, 34, 40), (210, 0, 255), (86, 160, 50)]
    """
    colors = [item.color for item in classes]
    named = {
        label: found
        for label, item in enumerate(classes)
        if item.color is None and (found := named_color(item.name, item.prompts)) is not None
    }
    tones = _Tones([color for color in colors if color is not None])
    for label in sorted(named, key=lambda label: (named[label].rank, label)):
        colors[label] = tones.take(named[label])
    in_use = [color for color in colors if color is not None]
    fresh = iter(make_palette(len(colors) - len(in_use), in_use, _IN_PICTURES))
    return [next(fresh) if color is None else color for color in colors]


class _Tones:
    """Gives each named colour a tone that can be told from all in use."""

    def __init__(self, in_use: Sequence[Color]) -> None:
        self._rgb, self._lattice = _lattice()
        self._distance = np.full(len(self._lattice), 3 * STEPS**2)
        self._in_use = oklab_steps(in_use)
        for color in self._in_use:
            self._keep_away(color)

    def take(self, wanted: NamedColor) -> Color | None:
        """A tone of the colour, in use from now on; None if all that can be told are taken."""
        base = oklab_steps(wanted.color)[0]
        if not wanted.lighter and self._is_free(base):
            return self._use(wanted.color, base)
        base = base + np.array([round(wanted.lighter * STEPS), 0, 0])
        candidates = np.flatnonzero(_same_hue(self._lattice, base))
        away = _squared_distance(_HUE_FIRST * self._lattice[candidates], _HUE_FIRST * base)
        for least in _TELLABLE:
            tellable = self._distance[candidates] >= (least * STEPS) ** 2
            if tellable.any():
                best = candidates[tellable][away[tellable].argmin()]
                red, green, blue = self._rgb[best].tolist()
                return self._use((red, green, blue), self._lattice[best])
        return None

    def _is_free(self, color: Coordinates) -> bool:
        near = _squared_distance(self._in_use, color)
        return not (near < (_NEAR * STEPS) ** 2).any()

    def _use(self, rgb: Color, color: Coordinates) -> Color:
        self._in_use = np.concatenate([self._in_use, color[None]])
        self._keep_away(color)
        return rgb

    def _keep_away(self, color: Coordinates) -> None:
        np.minimum(self._distance, _squared_distance(self._lattice, color), out=self._distance)


@lru_cache(maxsize=1)
def _lattice() -> tuple[Coordinates, Coordinates]:
    rgb = rgb_lattice(COARSE_STEP)
    return rgb, oklab_steps(rgb)


def _squared_distance(colors: Coordinates, color: Coordinates) -> Coordinates:
    return ((colors - color) ** 2).sum(-1)


def _same_hue(colors: Coordinates, base: Coordinates) -> npt.NDArray[np.bool_]:
    """Which colours (N, 3) one would call by the same name as ``base`` (3,)."""
    lightness = colors[:, 0] / STEPS
    chroma = np.hypot(colors[:, 1], colors[:, 2]) / STEPS
    its_chroma = float(np.hypot(base[1], base[2])) / STEPS
    is_grey = its_chroma < _GREY
    reach = _GREY_LIGHTER_OR_DARKER if is_grey else _LIGHTER_OR_DARKER
    similar = (
        (np.abs(colors[:, 0] - base[0]) <= reach * STEPS)
        & (lightness >= _DARKEST)
        & (lightness <= _LIGHTEST)
    )
    if is_grey:
        return similar & (chroma < _GREY)
    cosine = (colors[:, 1:] @ base[1:]) / STEPS**2 / np.maximum(chroma * its_chroma, 1e-9)
    low, high = _CHROMA
    return (
        similar
        & (cosine >= _SAME_HUE)
        & (chroma >= low * its_chroma)
        & (chroma <= high * its_chroma)
    )
