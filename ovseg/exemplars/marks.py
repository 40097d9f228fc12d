"""What a person marks in an image, as a mask: a mask, a box, clicks, a scribble."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg.errors import UserError, notify
from ovseg.images.opening import opened

Mask: TypeAlias = 'npt.NDArray[np.bool_]'
Points: TypeAlias = 'Sequence[Sequence[float]] | npt.NDArray[Any]'
# What label maps write where nobody has looked.
_IGNORED = 255
# Formats whose pixels are near to those that were saved. (WebP and others may be either.)
_LOSSY = ('JPEG', 'MPO', 'JPEG2000')


def read_mask(path: str | os.PathLike[str], size: tuple[int, int]) -> Mask:
    """The mask of a file: where any channel is not 0.

    Args:
        path: a PNG or another image without losses; a palette's numbers count, not its colours, and
            of a picture that is transparent in places its opacity.
        size: (H, W) of the image.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no image, one with losses, or not a mask of this image.
    """
    with opened(path, 'mask') as picture:
        if picture.format in _LOSSY:
            raise UserError(
                f'the mask {path} is a {picture.format}, whose numbers beside an outline are not '
                'those that were drawn: save it as PNG'
            )
        values = np.asarray(_drawn(picture))
    return check_mask(values, size, f'the mask {path}')


def _drawn(picture: Image.Image) -> Image.Image:
    """What says where the mask is: opacity where it differs, else the picture itself."""
    if picture.mode not in ('RGBA', 'LA'):
        return picture
    opacity = picture.getchannel('A')
    least, most = opacity.getextrema()
    return picture.convert(picture.mode[:-1]) if least == most else opacity


def check_mask(values: Any, size: tuple[int, int], name: str = 'the mask') -> Mask:
    """A mask as (H, W) bool.

    Args:
        values: an array (H, W) or (H, W, C) of truth values or whole numbers; what is not 0 is
            marked.
        size: (H, W) of the image.
        name: what it is called.

    Raises:
        UserError: another size than the image's, nothing marked, numbers that are all 255, scores
            or logits in place of truth values.

    Warns:
        Notice: several numbers beside 0, as label maps and soft edges have.
    """
    array: npt.NDArray[Any] = np.asarray(values)
    if array.dtype.kind not in 'buif':
        raise UserError(f'{name} holds no numbers; give truth values or numbers')
    if array.ndim == 3:
        # What is below 0 is not marked away by a 0 of another channel.
        array = array.min(axis=2) if array.dtype.kind != 'b' and (array < 0).any() else array.max(2)
    if array.shape != size:
        shape = ' x '.join(map(str, array.shape)) or 'a single number'
        raise UserError(
            f'{name} is {shape} and the image {size[0]} x {size[1]} (height x width): give a mask '
            'of the same size as the image'
        )
    if array.dtype.kind != 'b':
        _check_numbers(array, name)
    mask = np.asarray(array != 0)
    if not mask.any():
        raise UserError(f'{name} marks nothing: every pixel is 0')
    return mask


def _check_numbers(array: npt.NDArray[Any], name: str) -> None:
    """Stops at numbers that do not say where a thing is; tells what is to be known of others."""
    if not np.isfinite(array).all():
        raise UserError(f'{name} holds NaN or infinity; give truth values')
    if (array < 0).any():
        raise UserError(
            f'{name} has numbers below 0 ({array.min()}), as logits and missing labels have: give '
            'truth values, such as mask > 0'
        )
    if array.dtype.kind == 'f' and (array % 1).any():
        raise UserError(
            f'{name} has broken numbers (the largest is {array.max():.3g}), of which all above 0 '
            'would be marked: give truth values, such as mask > 0.5'
        )
    found = np.unique(array)
    if (found == _IGNORED).all():
        raise UserError(
            f"{name} is {_IGNORED} everywhere, which is label maps' word for 'not looked at': mark "
            'the thing and leave the rest 0, or give a box around the whole image'
        )
    marked = found[found != 0]
    if len(marked) > 1:
        ends = f'{marked[0]:g} to {marked[-1]:g}'
        notify(
            f'{name} has {len(marked)} numbers beside 0 ({ends}), and all of them count as the '
            'thing: of a label map choose one, such as labels == 3'
        )


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
    # Far outside is as good as outside, and stays a number that integers have.
    most = 2.0 * max(size) + 1
    x1, y1, x2, y2 = (int(value) for value in values.clip(-most, most).round())
    mask = np.zeros(size, dtype=np.bool_)
    mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    if not mask.any():
        raise UserError(
            f'the box {", ".join(f"{value:g}" for value in values)} has no pixel of the image '
            f'({size[0]} x {size[1]}, height x width): it is x1, y1, x2, y2'
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
    return np.ndim(mark) == 1 and len(mark) == 4


def is_points(mark: Any) -> bool:
    """Whether a mark is a list of (x, y), or meant as one: a pair alone, or no point at all."""
    if np.ndim(mark) == 1:
        return len(mark) in (0, 2)
    return np.ndim(mark) == 2 and np.shape(mark)[1] == 2


def _points(points: Points, size: tuple[int, int], what: str) -> npt.NDArray[np.int64]:
    values = _numbers(points, f'the {what}')
    if values.ndim != 2 or values.shape[1] != 2 or not len(values):
        raise UserError(f'a {what} is a pair x, y; give a list of them, such as [(30, 40)]')
    most = 2.0 * max(size) + 1
    rounded = values.clip(-most, most).round().astype(np.int64)
    inside = (rounded >= 0).all(1) & (rounded < size[::-1]).all(1)
    if not inside.all():
        x, y = values[int(inside.argmin())]
        raise UserError(
            f'the {what} at x {x:g}, y {y:g} lies outside of the image, which is {size[1]} wide '
            f'and {size[0]} high'
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
