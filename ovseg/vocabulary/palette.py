"""Colours for any number of classes: always the same, all different, easy to tell apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Color = tuple[int, int, int]
BACKGROUND_COLOR: Color = (0, 0, 0)

# Too dark is taken for the background, too light is lost on paper (OKLab lightness, 0..1).
_LIGHTNESS = (0.42, 0.93)
_COARSE_STEP = 15
_AVOIDED: tuple[Color, ...] = ((0, 0, 0), (255, 255, 255), (128, 128, 128))


def make_palette(count: int, taken: Sequence[Color] = ()) -> list[Color]:
    """``count`` distinct colours, each the one farthest from all before it.

    Distances are in OKLab, where equal steps look equally large, rounded to integers so that
    every machine picks the same colours. A longer palette starts with the shorter one.

    Args:
        count: how many colours.
        taken: colours in use that the new ones must differ from.

    Returns:
        RGB triples, 0..255.

    Raises:
        ValueError: more colours than the visible range of 8-bit RGB holds.

    Source: B. Ottosson, "A perceptual color space for image processing" (OKLab matrices).

    Example:
        >>> make_palette(3)
        [(0, 0, 255), (255, 0, 255), (0, 240, 0)]
    """
    return list(_farthest_first(count, tuple(taken)))


def _to_oklab(rgb: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """OKLab coordinates (N, 3) of sRGB values (N, 3) in 0..255."""
    srgb = rgb / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def _candidates(step: int) -> npt.NDArray[np.int64]:
    """RGB lattice (N, 3) with spacing ``step``, within the lightness range."""
    axis = np.arange(0, 256, step)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)
    lightness = _to_oklab(lattice)[:, 0]
    return lattice[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]


@lru_cache(maxsize=32)
def _farthest_first(count: int, taken: tuple[Color, ...]) -> tuple[Color, ...]:
    used = {tuple(color) for color in taken}
    lattice = _candidates(_COARSE_STEP)
    coordinates = np.rint(_to_oklab(lattice) * 4096).astype(np.int64)
    start = np.array([*_AVOIDED, *used], dtype=np.int64)
    anchors = np.rint(_to_oklab(start) * 4096).astype(np.int64)
    distance = np.full(len(lattice), np.iinfo(np.int64).max)
    for anchor in anchors:
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
    rest = [tuple(color) for color in _candidates(5).tolist() if tuple(color) not in used]
    if count > len(rest):
        raise ValueError(f'{count + len(used)} classes need more colours than the palette has')
    order = np.random.default_rng(0).permutation(len(rest))[:count]
    return tuple(rest[index] for index in order)
