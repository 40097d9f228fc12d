"""Colours over an image: regions painted, their outlines drawn, small pictures enlarged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

# Pictures are enlarged to this length before letters are set in or beside them.
_SHORTEST_WITH_LETTERS = 480
# About so many pixels say what paint looks like.
_LOOKED_AT = 500_000
# Outlines are this part of the shorter side wide.
_OUTLINE = 1 / 700


def check_picture(image: np.ndarray, regions: np.ndarray, name: str, opacity: float) -> None:
    """Raise if an image, a map of it and an opacity do not fit each other.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: (H, W).
        name: what the map is called.
        opacity: in [0, 1].

    Raises:
        ValueError: what does not fit.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image must be (H, W, 3) uint8, but is {image.shape} {image.dtype}.')
    if regions.shape != image.shape[:2]:
        raise ValueError(f'{name} are {regions.shape}, but the image is {image.shape[:2]}.')
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must lie in [0, 1], but is {opacity}.')


def enlarge(image: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and map, by a whole factor if the longer side is under 480 pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: (H, W) integers.
    """
    factor = math.ceil(_SHORTEST_WITH_LETTERS / max(regions.shape))
    if factor <= 1:
        return image, regions
    size = (regions.shape[1] * factor, regions.shape[0] * factor)
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return image, regions.repeat(factor, axis=0).repeat(factor, axis=1)


def paint(
    image: np.ndarray,
    regions: np.ndarray,
    palette: Sequence[Sequence[int]],
    unpainted: int | None,
    opacity: float,
    outlines: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """The image with its regions mixed in and their outlines in pure colour.

    Below the paint the image keeps its light and dark but loses its own hues, all of them from half
    opacity on: mixed with a red wall, green would be no green.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: (H, W) integers; those beyond the palette are not painted.
        palette: RGB in [0, 255], one a region.
        unpainted: the region that is not painted, or None.
        opacity: of the paint, in [0, 1].
        outlines: colours of the outlines, by default the palette.
    """
    index = _painted_index(regions, len(palette), unpainted)
    is_painted = index < len(palette)
    mixed = cv2.addWeighted(
        _below_paint(image, opacity), 1 - opacity, _colors(palette)[index], opacity, 0
    )
    result = np.where(is_painted[..., None], mixed, image)
    outline = _outline(index) & is_painted
    result[outline] = _colors(palette if outlines is None else outlines)[index[outline]]
    return result


def painted_colors(
    image: np.ndarray,
    regions: np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float,
) -> list[tuple[int, int, int]]:
    """What the paint of each region looks like: its mean in the picture, for a legend.

    Args:
        image: (H, W, 3) uint8 RGB, not painted.
        regions: (H, W) integers; those beyond the palette count for none.
        palette: RGB in [0, 255], one a region.
        opacity: of the paint, in [0, 1].

    Returns:
        RGB in [0, 255], one a region; of regions that are not there the palette's.
    """
    step = max(1, math.isqrt(regions.size // _LOOKED_AT))
    coarse = regions[::step, ::step]
    counts, means = _means(image[::step, ::step], coarse, len(palette), opacity)
    if step > 1:
        # Regions so small that no pixel of theirs was looked at.
        index = _painted_index(regions, len(palette), None)
        everywhere = np.bincount(index.ravel(), minlength=len(palette) + 1)[:-1]
        for region in np.flatnonzero((everywhere > 0) & (counts == 0)):
            own = image[index == region][None]
            here = np.zeros(own.shape[:2], np.int64)
            counts[region], means[region] = (part[0] for part in _means(own, here, 1, opacity))
    colors = _colors(palette)[:-1]
    mixed = np.rint((1 - opacity) * means + opacity * colors).astype(np.uint8)
    mixed = np.where(counts[:, None] > 0, mixed, colors)
    return [(red, green, blue) for red, green, blue in mixed.tolist()]


def _means(
    image: np.ndarray, regions: np.ndarray, num_regions: int, opacity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each region (N,), and the mean (N, 3) of what is below its paint."""
    index = _painted_index(regions, num_regions, None).ravel()
    below = _below_paint(np.ascontiguousarray(image), opacity).reshape(-1, 3)
    counts = np.bincount(index, minlength=num_regions + 1)[:-1]
    sums = [np.bincount(index, below[:, c], num_regions + 1)[:-1] for c in range(3)]
    return counts, np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]


def _below_paint(image: np.ndarray, opacity: float) -> np.ndarray:
    """The image without its hues, all of them from half opacity on."""
    strength = min(1.0, 2 * opacity)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return grey if strength == 1 else cv2.addWeighted(image, 1 - strength, grey, strength, 0)


def _painted_index(regions: np.ndarray, num_regions: int, unpainted: int | None) -> np.ndarray:
    """(H, W) regions, ``num_regions`` where nothing is painted."""
    index = np.where((regions >= 0) & (regions < num_regions), regions, num_regions)
    if unpainted is not None:
        index[index == unpainted] = num_regions
    return index


def _colors(palette: Sequence[Sequence[int]]) -> np.ndarray:
    # One colour more, for everything that is not painted.
    colors = np.zeros((len(palette) + 1, 3), np.uint8)
    colors[:-1] = np.asarray(palette, np.uint8).reshape(len(palette), 3)
    return colors


def _outline(index: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that touch another region, widened with the size of the picture."""
    edge = np.zeros(index.shape, np.uint8)
    across = index[:, 1:] != index[:, :-1]
    down = index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    thickness = round(_OUTLINE * min(index.shape))
    if thickness > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thickness - 1,) * 2)
        edge = cv2.dilate(edge, kernel)
    return edge.astype(bool)
