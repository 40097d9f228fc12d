"""Overlay pictures: the image, its classes painted over it and named, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ovseg.visualization.fonts import drawable
from ovseg.visualization.legend import LegendEntry, attach_legend
from ovseg.visualization.lettering import largest_pieces, letter_size, write_inside
from ovseg.visualization.paint import check_picture, enlarge, paint, painted_colors

# Names in place, by the size of the legend's letters; a class is named in this many of its pieces.
_SMALLEST_NAME, _LARGEST_NAME = 0.85, 1.5
_PIECES = 3
# Pieces are looked for at this size of the picture.
_SEARCHED = 800


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    background_index: int | None = None,
    opacity: float = 0.5,
    legend: bool = True,
) -> np.ndarray:
    """Paint classes over an image.

    Every class keeps its colour, over the image's light and dark; its outline is drawn in the pure
    colour. The background, and labels beyond the last class (255 for "ignored", say), are not
    painted. With the legend come names: in the regions where they have room, and in the legend,
    which lists the classes present, largest first, as they look in the picture, with their share of
    the area.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integers, class indices.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        background_index: the class that means "none of these".
        opacity: of the paint, in [0, 1].
        legend: write names, and set a legend below the picture, or beside a narrow one.

    Returns:
        uint8 RGB. Without a legend (H, W, 3). With it the canvas is larger, and an image whose
        longer side is under 480 pixels is enlarged by a whole factor, so that text can be read.

    Raises:
        ValueError: sizes of image and labels, or of names and palette, differ, or ``opacity`` is
            outside of [0, 1].
    """
    image, labels = np.asarray(image), np.asarray(labels)
    check_picture(image, labels, 'labels', opacity)
    if len(names) != len(palette):
        raise ValueError(f'{len(names)} names, but {len(palette)} colours in the palette.')
    if not legend:
        return paint(image, labels, palette, background_index, opacity)
    image, labels = enlarge(image, labels)
    painted, entries = paint_and_name(image, labels, names, palette, background_index, opacity)
    return attach_legend(painted, list(entries.values()))


def paint_and_name(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    background_index: int | None,
    opacity: float,
) -> tuple[np.ndarray, dict[int, LegendEntry]]:
    """The picture (H, W, 3) with its classes painted and named, and a legend's lines by class.

    Args:
        image: (H, W, 3) uint8 RGB, large enough for letters.
        labels: (H, W) integers, class indices.
        names: one a class.
        palette: RGB in [0, 255], one a class.
        background_index: the class that is not painted.
        opacity: of the paint, in [0, 1].
    """
    shares = class_shares(labels, len(names))
    painted = paint(image, labels, palette, background_index, opacity)
    shown = {index: shown_name(names[index], index) for index, _ in shares}
    painted = _name_regions(painted, labels, shown, background_index)
    fills = painted_colors(image, labels, palette, opacity)
    entries = {
        index: LegendEntry(shown[index], None, share)
        if index == background_index
        else LegendEntry(shown[index], fills[index], share, outline=_rgb(palette[index]))
        for index, share in shares
    }
    return painted, entries


def shown_name(name: str, index: int) -> str:
    """A class's name as a picture can show it: 'class 3' where no font has its letters."""
    return drawable(' '.join(name.split()), f'class {index}')


def class_shares(labels: np.ndarray, num_classes: int) -> list[tuple[int, float]]:
    """(class index, share of all pixels) of the classes present, largest first.

    Args:
        labels: (H, W) integers; values outside of [0, num_classes) count as area of no class.
        num_classes: how many classes there are.

    Example:
        >>> class_shares(np.array([[2, 2], [2, 0]]), 3)
        [(2, 0.75), (0, 0.25)]
    """
    flat = labels.ravel()
    known = flat[(flat >= 0) & (flat < num_classes)]
    counts = np.bincount(known, minlength=num_classes)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda index: (-counts[index], index))
    return [(index, float(counts[index] / flat.size)) for index in order]


def _name_regions(
    picture: np.ndarray, labels: np.ndarray, names: dict[int, str], background_index: int | None
) -> np.ndarray:
    """The picture with names in the largest pieces of each class, where they have room."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    size = letter_size(*labels.shape)
    sizes = (round(_SMALLEST_NAME * size), round(_LARGEST_NAME * size))
    step = max(1, max(labels.shape) // _SEARCHED)
    named = [index for index in names if index != background_index]
    if not named:
        return picture
    coarse = labels[::step, ::step].astype(np.int64)
    is_named = (coarse >= 0) & (coarse <= max(named))
    boxes = ndimage.find_objects(np.where(is_named, coarse + 1, 0), max_label=max(named) + 1)
    for index, room in zip(named, _line_heights(coarse, named), strict=True):
        box = boxes[index]
        if box is None or room * step < sizes[0]:
            continue
        top, left = (side.start for side in box)
        for mask, (x, y) in largest_pieces(coarse[box] == index, _PIECES):
            corner = ((left + x) * step, (top + y) * step)
            write_inside(pen, mask, corner, [names[index]], sizes, step)
    return np.asarray(canvas)


def _line_heights(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """How high a line may be at most in each class's regions: twice the distance to others."""
    inside = np.ones(labels.shape, np.uint8)
    inside[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    inside[1:] &= labels[1:] == labels[:-1]
    depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    return 2 * np.asarray(ndimage.maximum(depth, labels, classes)) + 1


def _rgb(color: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in color)
    return red, green, blue
