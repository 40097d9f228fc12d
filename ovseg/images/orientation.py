"""Pictures that are stored lying on a side: the EXIF tag that says how they are turned upright."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

_TAG = 0x0112
_Pixels = TypeVar('_Pixels', bound=np.generic)


def exif_orientation(picture: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 1 to 8; 1, which is upright, where it has none.

    Nothing is decoded: of a PNG file only what stands before its pixels is read.

    Args:
        picture: as ``PIL.Image.open`` gives it.
    """
    if picture.format == 'PNG' and 'exif' not in picture.info:
        return 1
    try:
        value = picture.getexif().get(_TAG, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError):
        return 1  # damaged metadata, which readers pass over
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: npt.NDArray[_Pixels], orientation: int) -> npt.NDArray[_Pixels]:
    """Pixels (H, W) or (H, W, C) as stored, turned and mirrored as an orientation says.

    Args:
        pixels: as stored.
        orientation: 1 to 8.

    Source: Exif 2.32, tag Orientation.

    Example:
        >>> stored = np.array([[1, 2, 3], [4, 5, 6]])
        >>> upright(stored, 6).tolist()
        [[4, 1], [5, 2], [6, 3]]
        >>> upright(stored, 3).tolist()
        [[6, 5, 4], [3, 2, 1]]
    """
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of a stored picture after it is turned upright, and the other way round.

    Args:
        size: (height, width) as stored.
        orientation: 1 to 8.
    """
    return (size[1], size[0]) if orientation >= 5 else size
