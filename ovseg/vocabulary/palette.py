"""Colours for any number of classes: always the same, all different, easy to tell apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ovseg.vocabulary.color_table import Color
from ovseg.vocabulary.oklab import to_oklab

BACKGROUND_COLOR: Color = (0, 0, 0)

# Too dark is taken for the background, too light is lost on paper (OKLab lightness, 0..1).
_LIGHTNESS = (0.42, 0.93)
COARSE_STEP = 15
# Whole numbers are the same on every machine.
STEPS = 4096
NEUTRALS: tuple[Color, ...] = ((0, 0, 0), (255, 255, 255), (128, 128, 128))


def make_palette(
    count: int, taken: Sequence[Color] = (), avoided: Sequence[Color] = NEUTRALS
) -> list[Color]:
    """``count`` distinct colours, each the one farthest from all before it.

    Distances are in OKLab, where equal steps look equally large, rounded to integers so that
    every machine picks the same colours. A longer palette starts with the shorter one.

    Args:
        count: how many colours.
        taken: colours in use that the new ones must differ from.
        avoided: colours that nothing is drawn in, to stay away from.

    Returns:
        RGB triples, 0..255.

    Raises:
        ValueError: more colours than the visible range of 8-bit RGB holds.

    Example:
        >>> make_palette(3)
        [(0, 0, 255), (255, 0, 255), (0, 240, 0)]
    """
    return list(_farthest_first(count, tuple(taken), tuple(avoided)))


def oklab_steps(rgb: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """OKLab coordinates (N, 3) of colours (N, 3), in whole steps of 1 / ``STEPS``."""
    colors = np.asarray(rgb, dtype=np.int64).reshape(-1, 3)
    return np.rint(to_oklab(colors) * STEPS).astype(np.int64)


def rgb_lattice(step: int) -> npt.NDArray[np.int64]:
    """Every ``step``-th colour (N, 3) of 8-bit RGB."""
    axis = np.arange(0, 256, step)
    return np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)


def _candidates(step: int) -> npt.NDArray[np.int64]:
    """RGB lattice (N, 3) with spacing ``step``, within the lightness range."""
    lattice = rgb_lattice(step)
    lightness = to_oklab(lattice)[:, 0]
    return lattice[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]


@lru_cache(maxsize=32)
def _farthest_first(
    count: int, taken: tuple[Color, ...], avoided: tuple[Color, ...]
) -> tuple[Color, ...]:
    used = {(red, green, blue) for red, green, blue in taken}
    lattice = _candidates(COARSE_STEP)
    coordinates = oklab_steps(lattice)
    distance = np.full(len(lattice), np.iinfo(np.int64).max)
    for anchor in oklab_steps([*avoided, *used]):
        np.minimum(distance, ((coordinates - anchor) ** 2).sum(1), out=distance)
    colors: list[Color] = []
    while len(colors) < count:
        best = int(distance.argmax())
        if distance[best] == 0:
            break
        red, green, blue = lattice[best].tolist()
        if (red, green, blue) not in used:
            colors.append((red, green, blue))
        np.minimum(distance, ((coordinates - coordinates[best]) ** 2).sum(1), out=distance)
    return tuple(colors) + _more_colors(count - len(colors), used | set(colors))


def _more_colors(count: int, used: Collection[tuple[int, ...]]) -> tuple[Color, ...]:
    """Colours between the coarse lattice's, once thousands of classes have used that up."""
    if count <= 0:
        return ()
    rest = [(r, g, b) for r, g, b in _candidates(5).tolist() if (r, g, b) not in used]
    if count > len(rest):
        raise ValueError(f'{count + len(used)} classes need more colours than the palette has')
    order = np.random.default_rng(0).permutation(len(rest))[:count]
    return tuple(rest[index] for index in order)
