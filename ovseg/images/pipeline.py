"""The resize rule as a step of a data set's pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Resize
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.images.resize import RESIZES, RULE_KEYS, Interpolation, ResizeRule, Rounding
from ovseg.registry import TRANSFORMS

Step = dict[str, Any] | Callable[[dict], dict]

LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'LoadScene', 'LoadPanopticScene')


@TRANSFORMS.register_module()
class AntialiasedResize(Resize):
    """mmcv's ``Resize`` by Pillow's antialiased bilinear filter; labels by the nearest pixel.

    As detectron2 does. mmcv's own ``backend='pillow'`` takes labels of 8 bits only, and picks other
    nearest pixels.

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


@TRANSFORMS.register_module()
class ResizeByRule(AntialiasedResize):
    """:class:`ResizeRule` as a step of a pipeline: what the Python interface does to its images.

    Required and changed keys: those of ``AntialiasedResize``.

    Args:
        scale: of the rule.
        keep_ratio: of the rule.
        antialias: of the rule.
        interpolation: of the rule.
        rounding: of the rule.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        keep_ratio: bool = True,
        antialias: bool = False,
        interpolation: Interpolation = 'bilinear',
        rounding: Rounding = 'nearest',
    ) -> None:
        super().__init__(scale, keep_ratio)
        size = (int(scale[0]), int(scale[1]))
        self.rule = ResizeRule(size, keep_ratio, antialias, interpolation, rounding)

    def _resize_img(self, results: dict[str, Any]) -> None:
        height, width = results['img'].shape[:2]
        image = self.rule.apply(results['img'])
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        results['scale_factor'] = (image.shape[1] / width, image.shape[0] / height)
        results['keep_ratio'] = self.keep_ratio

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.rule})'


def resize_step(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The step of a pipeline that applies the resize rule of a config.

    Args:
        settings: a rule; or any other transform by ``type``, which then is the step itself.

    Example:
        >>> resize_step({'scale': [520, 520], 'keep_ratio': True})
        {'type': 'ResizeByRule', 'scale': (520, 520), 'keep_ratio': True, 'antialias': False}
    """
    step = {'type': 'Resize', **settings}
    if step['type'] not in RESIZES or not set(step) <= set(RULE_KEYS) or step.get('scale') is None:
        if isinstance(step.get('scale'), list):  # --cfg-options and JSON know no tuples
            step['scale'] = tuple(step['scale'])
        return step
    return {'type': 'ResizeByRule', **ResizeRule.from_settings(step).settings}


def pipeline_with_resize(pipeline: Sequence[Step], resize: Mapping[str, Any] | None) -> list[Step]:
    """The pipeline with a resize step right after the image is loaded.

    Labels load later and so keep the original size, which is where predictions are compared.

    Args:
        pipeline: steps as in a config.
        resize: the rule (or another transform named by ``type``), None for none.

    Raises:
        UserError: a resize rule, but no step that loads an image; or a rule that cannot be read.

    Example:
        >>> steps = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        >>> [step['type'] for step in pipeline_with_resize(steps, dict(scale=(520, 520)))]
        ['LoadImageFromFile', 'ResizeByRule', 'PackSegInputs']
    """
    steps = list(pipeline)
    if resize is None:
        return steps
    for position, step in enumerate(steps):
        if name_of_step(step) in LOADERS:
            return [*steps[: position + 1], resize_step(resize), *steps[position + 1 :]]
    raise UserError(
        f'resize={dict(resize)} needs a pipeline with one of {", ".join(LOADERS)} to follow'
    )


def name_of_step(step: Any) -> str:
    """The class of a step, without scope or module, whether written as a dict or built."""
    name = step.get('type') if isinstance(step, Mapping) else type(step)
    return (name.__name__ if isinstance(name, type) else str(name)).rsplit('.', 1)[-1]


def is_resize(step: Any) -> bool:
    """Whether a step of a pipeline, as a config writes it, is a plain resize."""
    return name_of_step(step) in RESIZES
