"""Views of a region for training and testing: its image and its mask go through one crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

# The colour that stands for "not of this region" in the pairs that OVSeg published.
PUBLISHED_BLANK = (124, 116, 103)


def kept_pixels(
    image: npt.NDArray[np.uint8], blank: Sequence[int] = PUBLISHED_BLANK
) -> npt.NDArray[np.bool_]:
    """Returns where an image has not exactly the blank colour.

    A pixel that an interpolation mixed from the blank colour and another one counts as kept.

    Args:
        image: (H, W, 3) RGB.
        blank: RGB in 0..255.

    Returns:
        (H, W).

    Source: OVSeg, open_clip_training/src/open_clip/transform.py, for the colour.

    Example:
        >>> kept_pixels(np.array([[[124, 116, 103], [124, 116, 104]]], np.uint8))
        array([[False,  True]])
    """
    return (image != np.asarray(blank, np.uint8)).any(-1)


def random_view(
    image: Image.Image,
    mask: Image.Image | None,
    size: int,
    scale: Sequence[float] = (0.9, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> tuple[Image.Image, Image.Image | None]:
    """Returns a random crop of a region, resized to a square; torch's generator chooses.

    Args:
        image: RGB; resized bicubically, with antialiasing.
        mask: grey, of the image's size, or None; resized by the nearest pixel, so that it keeps
            its values.
        size: side of the square in pixels.
        scale: smallest and largest share of the image's area that is seen.
        ratio: smallest and largest width divided by height of what is seen.
    """
    box = RandomResizedCrop.get_params(image, list(scale), list(ratio))
    shape = [size, size]
    view = F.resized_crop(image, *box, shape, InterpolationMode.BICUBIC)
    if mask is None:
        return view, None
    return view, F.resized_crop(mask, *box, shape, InterpolationMode.NEAREST)


def centred_view(
    image: Image.Image, mask: Image.Image | None, size: int
) -> tuple[Image.Image, Image.Image | None]:
    """Returns the middle of a region whose shorter side is resized to a square's.

    Args:
        image: see :func:`random_view`.
        mask: see :func:`random_view`.
        size: side of the square in pixels.
    """
    view = F.center_crop(F.resize(image, size, InterpolationMode.BICUBIC), [size, size])
    if mask is None:
        return view, None
    return view, F.center_crop(F.resize(mask, size, InterpolationMode.NEAREST), [size, size])
