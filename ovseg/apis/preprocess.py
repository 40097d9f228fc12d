"""Images at the size that a model wants: the resize rule of its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from ovseg.errors import UserError

# Backbones halve the image up to five times: a shorter side would vanish on the way.
_SHORTEST_SIDE = 32
_RESIZES = ('Resize', 'AntialiasedResize')


@dataclass(frozen=True)
class ResizeRule:
    """How an image is resized before the model sees it (mmcv's rule, as in test pipelines).

    Attributes:
        scale: (longest, shortest) side in pixels that the image must fit into, or exactly
            (width, height) without ``keep_ratio``; None: the image keeps its size.
        keep_ratio: keep the image's proportions.
        antialias: resize as ``AntialiasedResize`` does.
    """

    scale: tuple[int, int] | None
    keep_ratio: bool = True
    antialias: bool = False

    @classmethod
    def from_config(cls, config: Config) -> ResizeRule:
        """The rule of ``inference = dict(scale=..., keep_ratio=...)``, else of the test pipeline.

        ``type='AntialiasedResize'`` beside them names that transform instead of mmcv's ``Resize``.

        Raises:
            UserError: ``inference.scale`` is not a pair of lengths, or another transform.
        """
        settings = config.get('inference')
        if settings is None:
            pipeline = config.get('test_pipeline') or []
            settings = next((step for step in pipeline if step.get('type') in _RESIZES), None)
        if settings is None:
            return cls(None)
        scale = settings.get('scale')
        if not isinstance(scale, Sequence) or len(scale) != 2 or min(scale) < 1:
            raise UserError(f'inference.scale must be two lengths in pixels, but is {scale!r}.')
        kind = settings.get('type', 'Resize')
        if kind not in _RESIZES:
            raise UserError(f'inference.type must be {" or ".join(_RESIZES)}, but is {kind!r}.')
        keep_ratio = bool(settings.get('keep_ratio', True))
        return cls((int(scale[0]), int(scale[1])), keep_ratio, kind == 'AntialiasedResize')

    def size_for(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) after resizing an image of (height, width).

        Sides under 32 pixels are stretched to 32, so that a picture one pixel high has features.

        Example:
            >>> ResizeRule((2048, 512)).size_for((480, 640))
            (512, 683)
        """
        height, width = size
        if self.scale is not None and self.keep_ratio:
            longest, shortest = max(self.scale), min(self.scale)
            factor = min(longest / max(size), shortest / min(size))
            height, width = int(height * factor + 0.5), int(width * factor + 0.5)
        elif self.scale is not None:
            width, height = self.scale
        return max(height, _SHORTEST_SIDE), max(width, _SHORTEST_SIDE)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) uint8 resized by OpenCV's bilinear rule, or Pillow's antialiased."""
        height, width = self.size_for(image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        backend = 'pillow' if self.antialias else 'cv2'
        return mmcv.imresize(image, (width, height), interpolation='bilinear', backend=backend)


def to_batch(images: Sequence[np.ndarray], rule: ResizeRule, preprocessor: nn.Module) -> Tensor:
    """Images as the model's encoder takes them.

    Args:
        images: (H, W, 3) uint8 RGB; all resize to one size.
        rule: how they are resized.
        preprocessor: the model's ``data_preprocessor``: normalises, and moves to its device.

    Returns:
        (B, 3, h, w) float32.
    """
    tensors = []
    for image in images:
        # Data preprocessors of the MM packages expect OpenCV's channel order.
        bgr = np.ascontiguousarray(rule.apply(image)[..., ::-1])
        tensors.append(torch.from_numpy(bgr).permute(2, 0, 1))
    return preprocessor({'inputs': tensors}, False)['inputs']
