"""Pictures of segments: each in a shade of its class's colour, outlined, with its number in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ovseg.visualization.fonts import font_for
from ovseg.visualization.legend import LegendEntry, attach_legend
from ovseg.visualization.paint import check_picture, enlarge, paint

if TYPE_CHECKING:
    from ovseg.regions.mask_segments import Segment

# Towards white (above 0) or black; the segments of a class take them in turn.
_SHADES = (0.0, 0.4, -0.35, 0.2, -0.2)
_INK, _RIM = (255, 255, 255), (0, 0, 0)
# Of the places about as deep as the deepest one, the most central one looks best.
_AS_DEEP = 0.9


def draw_segments(
    image: np.ndarray,
    ids: np.ndarray,
    segments: Sequence[Segment],
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float = 0.5,
    legend: bool = True,
) -> np.ndarray:
    """Paint segments over an image.

    The segments of a class have shades of its colour; outlines are drawn in the pure colour, and
    each segment's id stands where it is widest. The legend lists the classes present, largest
    first, with the number of their things and their share of the area.

    Args:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) integers, the id of each pixel's segment, 0 for none.
        segments: their ids are 1, 2, ..., in this order.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        opacity: of the paint, in [0, 1].
        legend: set one beside or below the picture.

    Returns:
        uint8 RGB, with the size that ``draw_overlay`` gives.

    Raises:
        ValueError: sizes of image and ids differ, ``opacity`` is outside of [0, 1], or the map has
            an id that is no segment's.
    """
    image, ids = np.asarray(image), np.asarray(ids)
    check_picture(image, ids, 'ids', opacity)
    if ids.size and not 0 <= ids.min() <= ids.max() <= len(segments):
        raise ValueError(
            f'ids reach from {ids.min()} to {ids.max()}, but there are {len(segments)} segments.'
        )
    entries = _entries(ids, segments, names, palette)
    width = ids.shape[1]
    if legend:
        image, ids = enlarge(image, ids)
    nobody = (0, 0, 0)
    outlines = [nobody, *(palette[segment.label] for segment in segments)]
    shades = [nobody, *_shades(segments, palette)]
    painted = paint(image, ids, shades, 0, opacity, outlines)
    painted = _write_numbers(painted, ids, segments, ids.shape[1] // width)
    return attach_legend(painted, entries) if legend else painted


def widest_place(mask: np.ndarray) -> tuple[int, int, float]:
    """Where a mask has most room: (x, y, distance to what is not the mask) in pixels.

    Args:
        mask: (H, W) bool, not empty; its borders are no part of it.

    Example:
        >>> widest_place(np.ones((5, 9), bool))
        (4, 2, 3.0)
    """
    # A border on which the distance is 0.
    framed = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= _AS_DEEP * depth.max())
    middle_y, middle_x = (axis.mean() for axis in np.nonzero(mask))
    chosen = np.argmin((rows - middle_y) ** 2 + (columns - middle_x) ** 2)
    y, x = int(rows[chosen]), int(columns[chosen])
    return x, y, float(depth[y, x])


def _entries(
    ids: np.ndarray,
    segments: Sequence[Segment],
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> list[LegendEntry]:
    """One entry a class, largest first; what belongs to no segment comes last."""
    counts = Counter(segment.label for segment in segments)
    areas: Counter[int] = Counter()
    for segment in segments:
        areas[segment.label] += segment.area
    entries = [
        LegendEntry(
            names[label] if counts[label] == 1 else f'{names[label]} x{counts[label]}',
            tuple(int(channel) for channel in palette[label]),
            area / ids.size,
        )
        for label, area in sorted(areas.items(), key=lambda item: (-item[1], item[0]))
    ]
    rest = ids.size - sum(areas.values())
    return [*entries, LegendEntry('no segment', None, rest / ids.size)] if rest else entries


def _shades(segments: Sequence[Segment], palette: Sequence[Sequence[int]]) -> list[np.ndarray]:
    seen: Counter[int] = Counter()
    shades = []
    for segment in segments:
        shift = _SHADES[seen[segment.label] % len(_SHADES)]
        seen[segment.label] += 1
        color = np.asarray(palette[segment.label], float)
        towards = 255.0 if shift > 0 else 0.0
        shades.append(np.rint(color + abs(shift) * (towards - color)).astype(np.uint8))
    return shades


def _write_numbers(
    picture: np.ndarray, ids: np.ndarray, segments: Sequence[Segment], scale: int
) -> np.ndarray:
    """The picture with each segment's id in it; ``scale``: of ``ids`` by the segments' boxes."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    longest = max(ids.shape)
    smallest, largest = max(10, round(0.024 * longest)), max(12, round(0.05 * longest))
    for segment in segments:
        left, top, width, height = (scale * side for side in segment.box)
        mask = ids[top : top + height, left : left + width] == segment.id
        x, y, room = widest_place(mask)
        text = str(segment.id)
        size = int(np.clip(room, smallest, largest))
        # Light letters with a dark rim can be read on any ground.
        pen.text(
            (left + x, top + y),
            text,
            fill=_INK,
            font=font_for(text, size),
            anchor='mm',
            stroke_width=max(1, size // 9),
            stroke_fill=_RIM,
        )
    return np.asarray(canvas)
