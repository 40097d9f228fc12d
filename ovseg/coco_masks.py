"""A mask in COCO's format, for results and for data sets alike."""

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
