"""Images at their own size beside the network's input, for models that look at both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ovseg.compat.mmseg_datasets import PackSegInputs
from ovseg.errors import UserError
from ovseg.registry import TRANSFORMS

ORIGINAL = 'original_image'
_PACKER = 'PackSegInputs'


@TRANSFORMS.register_module()
class KeepOriginalImage(BaseTransform):
    """Keep the image as it is now, whatever later steps make of it.

    Required key: ``img``, (H, W, 3) uint8 BGR. Added key: ``original_image``, the same as RGB.

    Raises:
        UserError: the image is no 8-bit colour image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``original_image`` to the sample."""
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f'KeepOriginalImage needs an (H, W, 3) uint8 image, got {image.dtype} of shape '
                f'{image.shape} ({results.get("img_path", "no path")})'
            )
        results[ORIGINAL] = np.ascontiguousarray(image[..., ::-1])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PackWithOriginal(PackSegInputs):
    """mmseg's ``PackSegInputs`` that also hands on the kept image.

    It becomes the data sample's ``original_image``, an array (H, W, 3) uint8 RGB. As an array it
    stays on the CPU: the first thing that becomes of it is a resize by OpenCV and Pillow, whose
    rounding published numbers include.

    Raises:
        UserError: no ``KeepOriginalImage`` came before.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack the sample."""
        if ORIGINAL not in results:
            raise UserError(
                f'{type(self).__name__} needs KeepOriginalImage before it, right after the loader'
            )
        packed = super().transform(results)
        packed['data_samples'].set_field(results[ORIGINAL], ORIGINAL, dtype=np.ndarray)
        return packed


def pipeline_with_original(
    pipeline: Sequence[Any], keep: bool, loaders: Sequence[str]
) -> list[Any]:
    """The pipeline with a step that keeps the image right after it is loaded.

    A keyword of the data sets, because a config cannot change one step of its base's pipeline.

    Args:
        pipeline: steps as in a config, ending with ``PackSegInputs``.
        keep: whether to; False leaves the pipeline as it is.
        loaders: names of the steps that load an image.

    Raises:
        ValueError: the pipeline has no such loader or no such end.

    Example:
        >>> steps = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        >>> kept = pipeline_with_original(steps, True, ['LoadImageFromFile'])
        >>> [step['type'] for step in kept]
        ['LoadImageFromFile', 'KeepOriginalImage', 'PackWithOriginal']
    """
    if not keep:
        return list(pipeline)
    steps: list[Any] = []
    for step in pipeline:
        name = str(step.get('type') if isinstance(step, dict) else type(step).__name__)
        name = name.rsplit('.', 1)[-1]
        steps.append({**step, 'type': 'PackWithOriginal'} if name == _PACKER else step)
        if name in loaders:
            steps.append({'type': 'KeepOriginalImage'})
    if len(steps) != len(pipeline) + 1 or steps[-1] == pipeline[-1]:
        raise ValueError(
            f'keep_original needs a pipeline with one of {", ".join(loaders)} that ends with a '
            f'{_PACKER} written as a dict'
        )
    return steps
