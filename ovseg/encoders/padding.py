"""What becomes of the sides of images that are no multiple of the patch."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import NO_MARGINS, Margins

Padding = Literal['mean', 'black', 'floor', 'centred', 'stretch']
PADDINGS: tuple[str, ...] = get_args(Padding)


def padding_margins(size: tuple[int, int], unit: tuple[int, int], padding: Padding) -> Margins:
    """How far the feature map reaches beyond an image.

    Args:
        size: (height, width) of the image in pixels.
        unit: (height, width) of what sides are filled up to a multiple of.
        padding: see :class:`~ovseg.encoders.clip_vit.CLIPViTEncoder`.

    Returns:
        (top, bottom, left, right) in pixels; 0 where the map is stretched over the image.

    Example:
        >>> padding_margins((30, 48), (16, 16), 'centred')
        (1, 1, 0, 0)
    """
    if padding != 'centred':
        return NO_MARGINS
    bottom, right = (-side % length for side, length in zip(size, unit, strict=True))
    return bottom // 2, bottom - bottom // 2, right // 2, right - right // 2


def pad_to_patches(image: Tensor, unit: tuple[int, int], padding: Padding, fill: Tensor) -> Tensor:
    """Images as the patches are cut from them.

    Args:
        image: (B, 3, H, W), normalised.
        unit: as in :func:`padding_margins`.
        padding: likewise.
        fill: (1, 3, 1, 1), what the border is of.

    Returns:
        (B, 3, H', W'), whose sides are multiples of the unit.
    """
    height, width = image.shape[-2:]
    # Nothing is left to leave out of an image smaller than a patch, so it is filled up.
    # In whole numbers, which a recorded program can hold.
    more = 0 if padding == 'floor' else 1
    rows, columns = (
        max((side + more * (length - 1)) // length, 1) * length
        for side, length in zip((height, width), unit, strict=True)
    )
    if padding == 'stretch':
        if (height, width) == (rows, columns):
            return image
        return F.interpolate(image, size=(rows, columns), mode='bicubic', align_corners=False)
    image = image[..., :rows, :columns]
    top, _, left, _ = padding_margins((height, width), unit, padding)
    height, width = image.shape[-2:]
    if (height, width) == (rows, columns):
        return image
    padded = fill.to(image.dtype).repeat(len(image), 1, rows, columns)
    padded[..., top : top + height, left : left + width] = image
    return padded
