"""Resizing as detectron2 does: images by Pillow, which averages where it shrinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import Resize
from torch.nn import functional as F

from ovseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AntialiasedResize(Resize):
    """mmcv's ``Resize`` by Pillow's antialiased bilinear filter; labels by the nearest pixel.

    mmcv's own ``backend='pillow'`` takes labels of 8 bits only, and picks other nearest pixels.

    Required and changed keys: ``img`` (H, W, 3) uint8; ``gt_seg_map`` (H, W) if it is loaded.

    Args:
        scale: (long side at most, short side), in either order.
        keep_ratio: whether `scale` is a bound for both sides instead of (width, height).
    """

    def __init__(self, scale: tuple[int, int], keep_ratio: bool = True) -> None:
        super().__init__(scale=scale, keep_ratio=keep_ratio, backend='pillow')

    def _resize_seg(self, results: dict[str, Any]) -> None:
        labels = results.get('gt_seg_map')
        if labels is not None:
            grid = torch.from_numpy(labels.astype(np.float64))[None, None]
            nearest = F.interpolate(grid, size=results['img_shape'], mode='nearest')
            results['gt_seg_map'] = nearest[0, 0].numpy().astype(labels.dtype)
