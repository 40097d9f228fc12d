"""Pictures of segments: each in a shade of its class's colour, outlined, with its number in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ovseg.visualization.draw import shown_name
from ovseg.visualization.legend import LegendEntry, attach_legend
from ovseg.visualization.lettering import largest_pieces, letter_size, write_inside, write_on
from ovseg.visualization.paint import check_picture, enlarge, paint, painted_colors

if TYPE_CHECKING:
    from ovseg.regions.mask_segments import Segment

# Towards white (above 0) or black; the segments of a class take them in turn.
_SHADES = (0.0, 0.4, -0.35, 0.2, -0.2)
# Letters in segments, by the size of the legend's letters.
_SMALLEST_NUMBER, _LARGEST_NUMBER = 0.85, 1.5
# The legend lists so many ids of a class, or ranges of them.
_MOST_IDS = 5
# A segment is numbered in so many of its pieces.
_PIECES = 3
# Room for letters is looked for at this size of the picture.
_SEARCHED = 800


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

    The segments of a class have shades of its colour, over the image's light and dark; outlines are
    drawn in the pure colour. Each segment's id stands in its largest piece, and in the next ones
    where it has room, with the name of its class where both have room. The legend lists the classes
    present, largest first, with the ids of their segments, the shades of these and their share of
    the area.

    Args:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) integers, the id of each pixel's segment, 0 for none.
        segments: their ids are 1, 2, ..., in this order.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        opacity: of the paint, in [0, 1].
        legend: set one below the picture, or beside a narrow one, and write names beside the ids.

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
    if legend:
        image, ids = enlarge(image, ids)
    nobody: Sequence[int] = (0, 0, 0)
    outlines = [nobody, *(palette[segment.label] for segment in segments)]
    shades = [nobody, *_shades(segments, palette)]
    painted = paint(image, ids, shades, 0, opacity, outlines)
    shown = {each.label: shown_name(names[each.label], each.label) for each in segments}
    painted = _write_ids(painted, ids, segments, shown if legend else {})
    if not legend:
        return painted
    fills = painted_colors(image, ids, shades, opacity)
    return attach_legend(painted, _entries(ids, segments, shown, palette, fills))


def _entries(
    ids: np.ndarray,
    segments: Sequence[Segment],
    names: Mapping[int, str],
    palette: Sequence[Sequence[int]],
    fills: Sequence[tuple[int, int, int]],
) -> list[LegendEntry]:
    """One entry a class, largest first; what belongs to no segment comes last."""
    pixels = np.bincount(ids.ravel(), minlength=len(segments) + 1)
    members: dict[int, list[int]] = {}
    for segment in segments:
        members.setdefault(segment.label, []).append(segment.id)
    areas = {label: int(pixels[numbers].sum()) for label, numbers in members.items()}
    entries = []
    for label in sorted(areas, key=lambda label: (-areas[label], label)):
        red, green, blue = (int(channel) for channel in palette[label])
        entries.append(
            LegendEntry(
                names[label],
                fills[members[label][0]],
                areas[label] / ids.size,
                outline=(red, green, blue),
                shades=tuple(fills[number] for number in members[label][: len(_SHADES)]),
                ids=_id_list(members[label]),
            )
        )
    rest = int(pixels[0])
    return [*entries, LegendEntry('no segment', None, rest / ids.size)] if rest else entries


def _id_list(numbers: Sequence[int]) -> str:
    """Ids for a legend, those that follow each other as a range.

    Example:
        >>> _id_list([1, 4, 5, 6, 9]), _id_list(range(1, 40, 2))
        ('1, 4-6, 9', '1, 3, 5, 7 … 20 in all')
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        parts += map(str, run) if len(run) < 3 else [f'{run[0]}-{run[-1]}']
    if len(parts) <= _MOST_IDS:
        return ', '.join(parts)
    return ', '.join(parts[: _MOST_IDS - 1]) + f' … {len(numbers)} in all'


def _shades(segments: Sequence[Segment], palette: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    seen: Counter[int] = Counter()
    shades = []
    for segment in segments:
        shift = _SHADES[seen[segment.label] % len(_SHADES)]
        seen[segment.label] += 1
        towards = 255 if shift > 0 else 0
        shades.append(
            tuple(round(c + abs(shift) * (towards - c)) for c in map(int, palette[segment.label]))
        )
    return shades


def _write_ids(
    picture: np.ndarray, ids: np.ndarray, segments: Sequence[Segment], names: Mapping[int, str]
) -> np.ndarray:
    """The picture with each segment's id in it, behind the name of its class if that has room."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    size = letter_size(*ids.shape)
    sizes = (round(_SMALLEST_NUMBER * size), round(_LARGEST_NUMBER * size))
    step = max(1, max(ids.shape) // _SEARCHED)
    for number, box in _boxes(ids, len(segments)).items():
        rows, columns = box
        region = ids[rows, columns]
        mask, scale = region[::step, ::step] == number, step
        if not mask.any():
            mask, scale = region == number, 1
        name = names.get(segments[number - 1].label)
        texts = [*([] if name is None else [f'{name} {number}']), str(number)]
        for rank, (piece, (x, y)) in enumerate(largest_pieces(mask, _PIECES)):
            corner = (columns.start + x * scale, rows.start + y * scale)
            fits = write_inside(pen, piece, corner, texts, sizes, scale)
            if not fits and rank == 0:
                write_on(pen, piece, corner, texts[-1], sizes[0], scale)
    return np.asarray(canvas)


def _boxes(ids: np.ndarray, count: int) -> dict[int, tuple[slice, slice]]:
    """Rows and columns of the box around each id from 1 to ``count`` that is in the map."""
    found = ndimage.find_objects(ids.astype(np.int32), max_label=count)
    return {number: box for number, box in enumerate(found, 1) if box is not None}
