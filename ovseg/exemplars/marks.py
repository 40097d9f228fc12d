"""What a person marks in an image, as a mask: a mask, a box, clicks, a scribble."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from ovseg.errors import UserError
from ovseg.images.opening import opened

Mask: TypeAlias = 'npt.NDArray[np.bool_]'
Points: TypeAlias = 'Sequence[Sequence[float]] | npt.NDArray[Any]'
# What label maps write where nobody has looked.
_IGNORED = 255


def read_mask(path: str | os.PathLike[str], size: tuple[int, int]) -> Mask:
    """The mask of a file: where any channel is not 0.

    Args:
        path: a PNG or another image without losses; a palette's numbers count, not its colours.
        size: (H, W) of the image.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no image, or not a mask of this image.
    """
    with opened(path, 'mask') as picture:
        values = np.asarray(picture.getchannel('A') if picture.mode in ('RGBA', 'LA') else picture)
    return check_mask(values, size, f'the mask {path}')


def check_mask(values: Any, size: tuple[int, int], name: str = 'the mask') -> Mask:
    """A mask as (H, W) bool.

    Args:
        values: an array or tensor (H, W) or (H, W, C) of truth values or numbers; what is not 0
            is marked.
        size: (H, W) of the image.
        name: what it is called.

    Raises:
        UserError: another size than the image's, nothing marked, numbers that are all 255.
    """
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim == 3:
        array = np.asarray(array.max(axis=2))
    if array.shape != size:
        shape = ' x '.join(map(str, array.shape))
        raise UserError(
            f'{name} is {shape} and the image {size[0]} x {size[1]} (height x width): give a mask '
            'of the same size as the image'
        )
    if array.dtype.kind not in 'buif':
        raise UserError(f'{name} holds no numbers; give truth values or numbers')
    if array.dtype.kind != 'b' and (array == _IGNORED).all():
        raise UserError(
            f"{name} is {_IGNORED} everywhere, which is label maps' word for 'not looked at': mark "
            'the thing and leave the rest 0, or give a box around the whole image'
        )
    mask = array != 0
    if not mask.any():
        raise UserError(f'{name} marks nothing: every pixel is 0')
    return mask


def box_mask(box: Sequence[float], size: tuple[int, int]) -> Mask:
    """The pixels of a box.

    Args:
        box: (x1, y1, x2, y2) in pixels, end exclusive; what is outside of the image is cut off.
        size: (H, W) of the image.

    Raises:
        UserError: no four numbers, or no pixel of the image is inside.
    """
    values = _numbers(box, 'the box')
    if values.shape != (4,):
        raise UserError(f'a box is four numbers x1, y1, x2, y2, got {values.size}')
    x1, y1, x2, y2 = values.round().astype(int)
    mask = np.zeros(size, dtype=np.bool_)
    mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    if not mask.any():
        raise UserError(
            f'the box {[x1, y1, x2, y2]} has no pixel of the image ({size[0]} x {size[1]}, height '
            'x width): it is x1, y1, x2, y2'
        )
    return mask


def click_mask(points: Points, size: tuple[int, int], radius: int) -> Mask:
    """Discs around clicks.

    Args:
        points: (n, 2), (x, y) in pixels.
        size: (H, W) of the image.
        radius: of a disc, in pixels.

    Raises:
        UserError: no points, or one outside of the image.
    """
    mask = np.zeros(size, dtype=np.uint8)
    for x, y in _points(points, size, 'click'):
        cv2.circle(mask, (x, y), radius, 1, thickness=-1)
    return mask.astype(np.bool_)


def scribble_mask(points: Points, size: tuple[int, int], radius: int) -> Mask:
    """A line as broad as a brush.

    Args:
        points: (n, 2), (x, y) in pixels, the line's corners in order.
        size: (H, W) of the image.
        radius: of the brush, in pixels.

    Raises:
        UserError: fewer than two points, or one outside of the image.
    """
    corners = _points(points, size, 'point of the scribble')
    if len(corners) < 2:
        raise UserError('a scribble has two points or more; one point is a click')
    mask = np.zeros(size, dtype=np.uint8)
    cv2.polylines(mask, [corners.astype(np.int32)], False, 1, thickness=2 * radius + 1)
    return mask.astype(np.bool_)


def is_box(mark: Any) -> bool:
    """Whether a mark is four numbers."""
    return np.ndim(mark) == 1 and len(mark) == 4 and not isinstance(mark, (str, Path))


def is_points(mark: Any) -> bool:
    """Whether a mark is a list of (x, y); an image of two columns is no mask that anybody draws."""
    return np.ndim(mark) == 2 and np.shape(mark)[1] == 2


def _points(points: Points, size: tuple[int, int], what: str) -> npt.NDArray[np.int64]:
    values = _numbers(points, f'the {what}')
    if values.ndim != 2 or values.shape[1] != 2 or not len(values):
        raise UserError(f'a {what} is a pair x, y; give a list of them')
    rounded = values.round().astype(np.int64)
    inside = (rounded >= 0).all(1) & (rounded < size[::-1]).all(1)
    if not inside.all():
        x, y = rounded[int(inside.argmin())]
        raise UserError(
            f'the {what} at x {x}, y {y} lies outside of the image, which is {size[1]} wide and '
            f'{size[0]} high'
        )
    return rounded


def _numbers(values: Any, name: str) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f'{name} must be numbers, got {values!r:.60}') from error
    if not np.isfinite(array).all():
        raise UserError(f'{name} must be finite numbers')
    return array
