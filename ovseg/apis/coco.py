"""Pieces of COCO annotation files that all results write alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

# The one image of a file.
IMAGE_ID = 1


def category_of(label: int) -> int:
    """The category id of a class: labels + 1, since COCO has no category 0."""
    return label + 1


def image_record(source: str, size: tuple[int, int]) -> dict[str, Any]:
    """The image of a file.

    Args:
        source: what it is called.
        size: (height, width) in pixels.
    """
    return {'id': IMAGE_ID, 'file_name': source, 'height': size[0], 'width': size[1]}


def mask_record(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO writes it: compressed run lengths, area and box (x, y, width, height).

    Args:
        mask: (H, W) bool.
    """
    # pycocotools reads columns first.
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        'segmentation': {
            'size': [int(side) for side in mask.shape],
            'counts': encoded['counts'].decode('ascii'),
        },
        'area': int(coco_mask.area(encoded)),
        'bbox': [float(side) for side in coco_mask.toBbox(encoded)],
    }
