"""Images as the batch that an encoder takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ovseg.images.resize import ResizeRule


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


def batch_of(resized: Sequence[np.ndarray], preprocessor: nn.Module) -> Tensor:
    """Images that are resized already as the model's encoder takes them.

    Args:
        resized: (h, w, 3) uint8 RGB, of one size.
        preprocessor: the model's ``data_preprocessor``.

    Returns:
        (B, 3, h, w) float32.
    """
    tensors = []
    for image in resized:
        # Data preprocessors of the MM packages expect OpenCV's channel order.
        bgr = np.ascontiguousarray(image[..., ::-1])
        tensors.append(torch.from_numpy(bgr).permute(2, 0, 1))
    return preprocessor({'inputs': tensors}, False)['inputs']
