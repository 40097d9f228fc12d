"""Images as the batch that an encoder takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from ovseg.images.resize import ResizeRule
from ovseg.images.transport import Sent, as_bgr


def to_batch(images: Sequence[np.ndarray], rule: ResizeRule, preprocessor: nn.Module) -> Tensor:
    """Images as the model's encoder takes them.

    Args:
        images: (H, W, 3) uint8 RGB; all resize to one size.
        rule: how they are resized.
        preprocessor: the model's ``data_preprocessor``: normalises, and moves to its device.

    Returns:
        (B, 3, h, w) float32.
    """
    return batch_of([rule.apply(image) for image in images], preprocessor)


def batch_of(resized: Sequence[np.ndarray | Sent], preprocessor: nn.Module) -> Tensor:
    """Images that are resized already as the model's encoder takes them.

    Args:
        resized: (h, w, 3) uint8 RGB, of one size; or images that were sent ahead.
        preprocessor: the model's ``data_preprocessor``.

    Returns:
        (B, 3, h, w) float32.
    """
    tensors = [image.arrived() if isinstance(image, Sent) else as_bgr(image) for image in resized]
    return preprocessor({'inputs': tensors}, False)['inputs']
