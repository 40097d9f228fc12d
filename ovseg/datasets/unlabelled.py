"""Labels that are held back: -1 says "some class, find out which", 255 says "no matter"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmcv.transforms import BaseTransform

from ovseg.errors import UserError
from ovseg.registry import TRANSFORMS

UNLABELLED = -1


@TRANSFORMS.register_module()
class SuppressLabels(BaseTransform):
    """Takes the labels of some or all classes away; what was ignored stays ignored.

    Stands after the step that loads labels, so class numbers are those after
    ``reduce_zero_label``. A sample without a label map (a folder of images) is unlabelled all over.
    Label maps are int32 from here on; mmseg's crops, flips, resizes and paddings keep -1, and
    ``PackSegInputs`` makes int64 of them.

    Required key: ``img``. Changed or added keys: ``gt_seg_map`` (H, W) int32, ``seg_fields``.

    Args:
        classes: numbers of the classes to suppress, or ``'all'``.

    Raises:
        UserError: class numbers below 0, or something else than numbers.

    Source: MaskCLIP (arXiv 2112.01071) section 3.3, the transductive setting.
    """

    def __init__(self, classes: Sequence[int] | Literal['all'] = 'all') -> None:
        is_all = isinstance(classes, str) and classes == 'all'
        if not is_all and (
            isinstance(classes, str) or not classes or any(label < 0 for label in classes)
        ):
            raise UserError(
                "SuppressLabels.classes must be 'all' or a list of class numbers from 0, "
                f'got {classes!r}'
            )
        self.classes: Literal['all'] | tuple[int, ...] = (
            'all' if isinstance(classes, str) else tuple(classes)
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Marks the pixels."""
        if 'gt_seg_map' not in results:
            results['gt_seg_map'] = np.full(results['img'].shape[:2], UNLABELLED, np.int32)
            results.setdefault('seg_fields', []).append('gt_seg_map')
            return results
        labels = results['gt_seg_map'].astype(np.int32)
        if isinstance(self.classes, str):
            hidden = labels != results.get('ignore_index', 255)
        else:
            hidden = np.isin(labels, self.classes)
        results['gt_seg_map'] = np.where(hidden, np.int32(UNLABELLED), labels)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(classes={self.classes!r})'
