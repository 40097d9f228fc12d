"""Segments of an image as a label map, so that what trains on them resizes and crops it as one."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ovseg.errors import UserError
from ovseg.registry import TRANSFORMS

# What pads and crops call a pixel of nobody; so many segments are kept of an image.
NOBODY = 255


@TRANSFORMS.register_module()
class SegmentNumbers(BaseTransform):
    """Numbers the segments of an image from 0, in a label map that mmseg's transforms move along.

    Groups of things (``iscrowd``) are nobody's, as published. Of more than 255 segments the largest
    are kept. Required keys: ``panoptic_truth`` and ``img_shape`` or ``ori_shape``, before the image
    is resized. Added keys: ``gt_seg_map`` (H, W) uint8, 255 for nobody's pixels, ``seg_fields``,
    and ``segment_labels``, the class of each number, which ``meta_keys`` of ``PackSegInputs`` hand
    on to the loss.

    Raises:
        UserError: the image was resized before.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds the label map to the sample."""
        truth = results['panoptic_truth']
        size = tuple(results['img'].shape[:2])
        if truth.ids.shape != size:
            raise UserError(
                f'SegmentNumbers comes before what resizes the image: it is {size}, its segments '
                f'{truth.ids.shape}'
            )
        numbers = np.full(size, NOBODY, dtype=np.uint8)
        single = [segment for segment in truth.segments if not segment.is_crowd]
        kept = sorted(single, key=lambda segment: -segment.area)[:NOBODY]
        for number, segment in enumerate(kept):
            numbers[truth.ids == segment.id] = number
        results['gt_seg_map'] = numbers
        results['seg_fields'] = [*results.get('seg_fields', []), 'gt_seg_map']
        results['segment_labels'] = tuple(segment.label for segment in kept)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
