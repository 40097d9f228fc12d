"""Letters in pictures: how large, where they fit, and drawn so that they can be read anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import ImageDraw

from ovseg.visualization.fonts import font_for

# On a phone a picture is shown about 390 points wide; letters of less than 10 cannot be read.
_OF_SHORT_SIDE = 0.04
_SMALLEST, _LARGEST = 14, 200
_INK, _RIM = (255, 255, 255), (0, 0, 0)
# Between lines, as part of the letters' size.
_LINE_GAP = 0.2
# Of the places with about as much room as the best one, the most central one looks best.
_AS_ROOMY = 0.9


def letter_size(height: int, width: int) -> int:
    """The size in pixels of letters beside a picture that is shown as a whole.

    It follows the shorter side, within bounds: a strip of 1 x 60000 pixels has small letters.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Example:
        >>> letter_size(3000, 4000), letter_size(1, 60000)
        (120, 14)
    """
    return int(np.clip(round(_OF_SHORT_SIDE * min(height, width)), _SMALLEST, _LARGEST))


@lru_cache(maxsize=4096)
def text_width(text: str, size: int) -> int:
    """Width of a line of text in pixels, in letters of ``size`` pixels."""
    return math.ceil(font_for(text, size).getlength(text))


def write(pen: ImageDraw.ImageDraw, center: tuple[int, int], text: str, size: int) -> None:
    """Write light letters with a dark rim, which can be read on any ground.

    Args:
        pen: of the picture.
        center: (x, y) of the text.
        text: one line, or several.
        size: of the letters, in pixels.
    """
    pen.text(
        center,
        text,
        fill=_INK,
        font=font_for(text, size),
        anchor='mm',
        align='center',
        spacing=round(_LINE_GAP * size),
        stroke_width=max(1, size // 9),
        stroke_fill=_RIM,
    )


def roomiest_place(mask: np.ndarray, aspect: float = 1.0) -> tuple[int, int, float]:
    """Where a mask holds the largest upright rectangle of a shape.

    Args:
        mask: (H, W) bool, not empty; its borders are no part of it.
        aspect: width of the rectangle by its height.

    Returns:
        (x, y) of its centre, and its height in pixels.

    Example:
        >>> roomiest_place(np.ones((5, 9), bool))
        (4, 2, 5.0)
    """
    # Along the squeezed axis a rectangle is a square, whose half side is a distance.
    height, width = mask.shape
    squeezed_width = max(1, round(width / aspect)) if aspect > 1 else width
    # Only columns that are inside all over count.
    squeezed = cv2.resize(
        mask.astype(np.uint8) * 255, (squeezed_width, height), interpolation=cv2.INTER_AREA
    )
    inside = (squeezed == 255).astype(np.uint8)
    if not inside.any():
        inside = (squeezed > 0).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= _AS_ROOMY * depth.max())
    middle_y, middle_x = (axis.mean() for axis in np.nonzero(inside))
    chosen = np.argmin((rows - middle_y) ** 2 + (aspect * (columns - middle_x)) ** 2)
    y, column = int(rows[chosen]), int(columns[chosen])
    x = int((column + 0.5) * width / squeezed_width)
    room = 2 * float(depth[y, column]) - 1
    return x, y, room


def largest_pieces(mask: np.ndarray, count: int) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The largest connected pieces of a region, each in its box, with the (x, y) of the box.

    Args:
        mask: (H, W) bool.
        count: how many at most.

    Example:
        >>> [piece.shape for piece, _ in largest_pieces(np.array([[1, 0, 1, 1]], bool), 2)]
        [(1, 2), (1, 1)]
    """
    number, pieces, facts, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    largest = sorted(range(1, number), key=lambda piece: -facts[piece, cv2.CC_STAT_AREA])
    found = []
    for piece in largest[:count]:
        x, y, width, height = (int(side) for side in facts[piece, :4])
        found.append((pieces[y : y + height, x : x + width] == piece, (x, y)))
    return found


def write_inside(
    pen: ImageDraw.ImageDraw,
    mask: np.ndarray,
    corner: tuple[int, int],
    texts: Sequence[str],
    sizes: tuple[int, int],
    scale: int = 1,
) -> bool:
    """Write the first of some texts that fits into a region, as large as it fits.

    Args:
        pen: of the picture.
        mask: (h, w) bool, the region in its box, not empty.
        corner: (x, y) of the box in the picture, in pixels.
        texts: what may be written, the best first.
        sizes: smallest and largest size of the letters, in pixels.
        scale: pixels of the picture for each of the mask.

    Returns:
        Whether one did fit.
    """
    smallest, largest = sizes
    for text in texts:
        for lines in (text, _in_two_lines(text)):
            x, y, size = _place_of(mask, lines)
            if size * scale >= smallest:
                place = _in_picture(x, y, corner, scale)
                write(pen, place, lines, min(largest, int(size * scale)))
                return True
    return False


def write_on(
    pen: ImageDraw.ImageDraw,
    mask: np.ndarray,
    corner: tuple[int, int],
    text: str,
    size: int,
    scale: int = 1,
) -> None:
    """Write a text where a region has most room, though it has not enough.

    Args:
        pen: of the picture.
        mask: (h, w) bool, the region in its box, not empty.
        corner: (x, y) of the box in the picture, in pixels.
        text: one line.
        size: of the letters, in pixels.
        scale: pixels of the picture for each of the mask.
    """
    x, y, _ = _place_of(mask, text)
    write(pen, _in_picture(x, y, corner, scale), text, size)


def _place_of(mask: np.ndarray, text: str) -> tuple[int, int, float]:
    """(x, y) of a text in a mask, and the size of letters that fits there."""
    # Letters of size 100, with their rims, to measure the box.
    lines = text.split('\n')
    width = max(text_width(line, 100) for line in lines) + 30
    height = 130 + (len(lines) - 1) * (100 + 100 * _LINE_GAP)
    x, y, room = roomiest_place(mask, width / height)
    return x, y, 100 * room / height


def _in_two_lines(text: str) -> str:
    """The text, broken at the blank that is nearest to its middle."""
    blanks = [place for place, letter in enumerate(text) if letter == ' ']
    if not blanks:
        return text
    middle = min(blanks, key=lambda place: abs(place - len(text) // 2))
    return text[:middle] + '\n' + text[middle + 1 :]


def _in_picture(x: int, y: int, corner: tuple[int, int], scale: int) -> tuple[int, int]:
    return corner[0] + x * scale + scale // 2, corner[1] + y * scale + scale // 2
