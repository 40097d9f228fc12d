"""Where sliding windows lie, and cutting them out of an image."""

from __future__ import annotations

from torch import Tensor, stack
from torch.nn import functional as F

from ovseg.sizes import spatial_size

Box = tuple[int, int, int, int]


def whole_patches(
    size: tuple[int, int], patch: tuple[int, int], crop: tuple[int, int]
) -> tuple[int, int]:
    """(height, width) to which an image is stretched, so that patches fill it.

    The longer side goes up to a multiple of the patch, the other in proportion and then up, too;
    no side stays below the window. Sides that are multiples already stay in any case.

    Args:
        size: (height, width) of the image in pixels.
        patch: pixels per patch, (height, width); RADSeg takes the windows' stride for it.
        crop: (height, width) of a window.

    Source: Trident's released code; its rule for small images crashes where both sides are
    multiples, ours stretches these, too.

    Example:
        >>> whole_patches((448, 627), (16, 16), (336, 336))
        (464, 640)
    """
    sides = list(size)
    if any(side % unit for side, unit in zip(size, patch, strict=True)):
        longest = max(size)
        unit = patch[size.index(longest)]
        target = -(-longest // unit) * unit
        # As floats in this order: the rounding decides the size.
        sides = [int(side * target / longest) for side in size]
        sides = [-(-side // unit) * unit for side, unit in zip(sides, patch, strict=True)]
    height, width = (max(side, window) for side, window in zip(sides, crop, strict=True))
    return height, width


def stretched_windows(
    image: Tensor, unit: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]
) -> tuple[Tensor, list[Box]]:
    """Images at the size of :func:`whole_patches`, bilinearly, and the boxes of their windows.

    Args:
        image: (B, C, H, W).
        unit: pixels whose multiples the sides become, (height, width).
        crop: (height, width) of a window.
        stride: (height, width) between windows.
    """
    size = whole_patches(spatial_size(image), unit, crop)
    if size != spatial_size(image):
        image = F.interpolate(image, size=size, mode='bilinear', align_corners=False)
    return image, window_boxes(size, crop, stride)


def window_boxes(
    size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]
) -> list[Box]:
    """Boxes of mmseg's sliding windows, row by row.

    The last window of an axis is shifted back inside the image; an image smaller than the crop
    gives one window as large as the image, unpadded.

    Args:
        size: (height, width) of the image in pixels.
        crop: (height, width) of a window.
        stride: (height, width) between windows.

    Returns:
        Boxes (y1, x1, y2, x2), end exclusive.

    Example:
        >>> window_boxes((4, 10), (4, 6), (4, 3))
        [(0, 0, 4, 6), (0, 3, 4, 9), (0, 4, 4, 10)]
    """
    starts = []
    for length, window, step in zip(size, crop, stride, strict=True):
        count = max(length - window + step - 1, 0) // step + 1
        starts.append([max(min(i * step, length - window), 0) for i in range(count)])
    return [
        (y, x, min(y + crop[0], size[0]), min(x + crop[1], size[1]))
        for y in starts[0]
        for x in starts[1]
    ]


def cut_windows(image: Tensor, boxes: list[Box]) -> Tensor:
    """Windows of a batch as one batch, image by image.

    Args:
        image: (B, C, H, W).
        boxes: boxes of equal size.

    Returns:
        (B * len(boxes), C, window height, window width).
    """
    windows = [image[..., y1:y2, x1:x2] for y1, x1, y2, x2 in boxes]
    return stack(windows, dim=1).flatten(0, 1)
