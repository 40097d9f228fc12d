"""The one resize rule: how an image is resized before a network sees it, through every door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import mmcv
import numpy as np

from ovseg.errors import UserError

# Backbones halve the image up to five times: a shorter side would vanish on the way.
_SHORTEST_SIDE = 32
RESIZES = ('Resize', 'AntialiasedResize', 'ResizeByRule')
RULE_KEYS = ('type', 'scale', 'keep_ratio', 'antialias', 'interpolation', 'rounding')

Interpolation = Literal['bilinear', 'bicubic']
Rounding = Literal['nearest', 'down']


@dataclass(frozen=True)
class ResizeRule:
    """How an image is resized before the model sees it (mmcv's rule, as in test pipelines).

    Attributes:
        scale: (longest, shortest) side in pixels that the image must fit into, or exactly
            (width, height) without ``keep_ratio``; None: the image keeps its size.
        keep_ratio: keep the image's proportions.
        antialias: resize by Pillow's filter, which averages where it shrinks, not by OpenCV's.
        interpolation: of the filter.
        rounding: of a side that the proportions make no whole number of pixels.
    """

    scale: tuple[int, int] | None
    keep_ratio: bool = True
    antialias: bool = False
    interpolation: Interpolation = 'bilinear'
    rounding: Rounding = 'nearest'

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any] | None, name: str = 'resize') -> ResizeRule:
        """The rule that a config writes as ``dict(scale=(2048, 512), keep_ratio=True)``.

        Args:
            settings: ``type='AntialiasedResize'`` or ``antialias=True`` beside the scale names the
                filter; None: no rule.
            name: of the config's key, for messages.

        Raises:
            UserError: the scale is not a pair of lengths, or there are other settings.

        Example:
            >>> ResizeRule.from_settings({'scale': [520, 520]}).scale
            (520, 520)
        """
        if settings is None:
            return cls(None)
        given = str(settings.get('type', 'Resize'))
        kind = given.rpartition('.')[2]  # mmdet.Resize is the same step
        if kind not in RESIZES:
            raise UserError(f'{name}.type must be one of {", ".join(RESIZES)}, but is {given!r}.')
        other = [key for key in settings if key not in RULE_KEYS]
        if other:
            raise UserError(f'{name} has scale and keep_ratio, but no {other[0]!r}: leave it out.')
        scale = settings.get('scale')
        if not isinstance(scale, list | tuple) or len(scale) != 2 or min(scale) < 1:
            raise UserError(f'{name}.scale must be two lengths in pixels, but is {scale!r}.')
        words = {'interpolation': Interpolation, 'rounding': Rounding}
        for key, choices in words.items():
            if settings.get(key, get_args(choices)[0]) not in get_args(choices):
                raise UserError(
                    f'{name}.{key} must be one of {", ".join(get_args(choices))}, but is '
                    f'{settings[key]!r}.'
                )
        return cls(
            (int(scale[0]), int(scale[1])),
            bool(settings.get('keep_ratio', True)),
            kind == 'AntialiasedResize' or bool(settings.get('antialias', False)),
            settings.get('interpolation', 'bilinear'),
            settings.get('rounding', 'nearest'),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The rule as a config writes it, what is usual left out."""
        usual = {'interpolation': 'bilinear', 'rounding': 'nearest'}
        return {
            'scale': self.scale,
            'keep_ratio': self.keep_ratio,
            'antialias': self.antialias,
            **{key: getattr(self, key) for key in usual if getattr(self, key) != usual[key]},
        }

    def size_for(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) after resizing an image of (height, width).

        Sides under 32 pixels are stretched to 32, so that a picture one pixel high has features.
        Without a scale the image stays as it is.

        Example:
            >>> ResizeRule((2048, 512)).size_for((480, 640))
            (512, 683)
        """
        if self.scale is None:
            return size
        height, width = size
        if self.keep_ratio:
            longest, shortest = max(self.scale), min(self.scale)
            factor = min(longest / max(size), shortest / min(size))
            # Down: the side that fits exactly may be an ulp short of it.
            more = 0.5 if self.rounding == 'nearest' else 1e-6
            height, width = int(height * factor + more), int(width * factor + more)
        else:
            width, height = self.scale
        return max(height, _SHORTEST_SIDE), max(width, _SHORTEST_SIDE)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) uint8, channels in any order, resized."""
        height, width = self.size_for(image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        backend = 'pillow' if self.antialias else 'cv2'
        return mmcv.imresize(
            image, (width, height), interpolation=self.interpolation, backend=backend
        )
