"""Random brightness, as torchvision's ``ColorJitter(brightness=...)`` has it."""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from ovseg.errors import UserError
from ovseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomBrightness(BaseTransform):
    """Multiplies an image by a random factor.

    Required and changed key: ``img`` (H, W, 3) uint8.

    Args:
        span: smallest and largest factor; the draw is even.

    Raises:
        UserError: a span that is none.
    """

    def __init__(self, span: tuple[float, float] = (0.5, 1.5)) -> None:
        if len(span) != 2 or not 0 <= span[0] <= span[1]:
            raise UserError(f'RandomBrightness.span must be two factors, got {tuple(span)}')
        self.span = (span[0], span[1])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Changes the image."""
        results['img'] = mmcv.adjust_brightness(results['img'], np.random.uniform(*self.span))
        return results
