"""Masks and id maps in COCO's formats, for results and for data sets alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths


def mask_record(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as COCO writes it: compressed run lengths, area and box (x, y, width, height).

    Args:
        mask: (H, W) bool.
    """
    # pycocotools reads columns first.
    encoded = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        'segmentation': {
            'size': [int(side) for side in mask.shape],
            'counts': encoded['counts'].decode('ascii'),
        },
        'area': int(run_lengths.area(encoded)),
        'bbox': [float(side) for side in run_lengths.toBbox(encoded)],
    }


def ids_of_colors(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """The id map (H, W) of a picture (H, W, 3) RGB in COCO's panoptic format.

    Source: COCO panoptic segmentation, data format: ``R + 256 G + 256^2 B``.

    Example:
        >>> ids_of_colors(np.array([[[7, 0, 0], [1, 2, 0]]], np.uint8))
        array([[  7, 513]], dtype=int32)
    """
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 256**2 * blue


def colors_of_ids(ids: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The picture (H, W, 3) RGB of an id map (H, W): the way back.

    Example:
        >>> colors_of_ids(np.array([[7, 513]])).tolist()
        [[[7, 0, 0], [1, 2, 0]]]
    """
    return np.stack([(ids // 256**power % 256).astype(np.uint8) for power in range(3)], axis=-1)
