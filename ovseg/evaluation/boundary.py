"""Boundary IoU: how well masks follow the outlines of what they show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ovseg.errors import UserError
from ovseg.evaluation.iou import no_labels
from ovseg.registry import METRICS

_CROSS = np.ones((3, 3), dtype=np.uint8)


def boundary_region(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """The pixels of a mask that lie within some pixels of its outline.

    Args:
        mask: (H, W) bool.
        width: in pixels, at least 1. The border of the image counts as outline.

    Source: Boundary IoU (arXiv 2103.16562).

    Example:
        >>> boundary_region(np.ones((3, 4), dtype=bool), 1).astype(int)
        array([[1, 1, 1, 1],
               [1, 0, 0, 1],
               [1, 1, 1, 1]])
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, _CROSS, iterations=width)[1:-1, 1:-1]
    return mask & (inner == 0)


def boundary_width(size: tuple[int, int], dilation: float) -> int:
    """How wide a boundary region is, in pixels, at least 1.

    Args:
        size: (H, W) of the image.
        dilation: share of the image's diagonal.
    """
    return max(1, round(dilation * float(np.hypot(*size))))


def boundary_counts(
    predicted: npt.NDArray,
    labelled: npt.NDArray,
    classes: int,
    dilation: float = 0.02,
    ignore_index: int = 255,
) -> Tensor:
    """What the boundary regions of an image's classes have in common.

    Args:
        predicted: (H, W) labels.
        labelled: (H, W) labels; pixels without one count for nobody.
        classes: K.
        dilation: width of a region as a share of the image's diagonal.
        ignore_index: means that a pixel has no label.

    Returns:
        (2, K) int64: pixels in both regions of a class, and in either.

    Source: CorrCLIP v2's boundary_iou (sums over the set), of Boundary IoU (arXiv 2103.16562).
    """
    counts = torch.zeros(2, classes, dtype=torch.int64)
    width = boundary_width((labelled.shape[0], labelled.shape[1]), dilation)
    is_labelled = labelled != ignore_index
    for index in np.union1d(predicted[is_labelled], labelled[is_labelled]):
        # Without a label is outside for both, or its border would count as an outline of one.
        ours = boundary_region((predicted == index) & is_labelled, width)
        theirs = boundary_region(labelled == index, width)
        counts[0, index] = int((ours & theirs).sum())
        counts[1, index] = int((ours | theirs).sum())
    return counts


@METRICS.register_module()
class BoundaryIoUMetric(BaseMetric):
    """Mean over classes of the IoU of predicted and labelled boundary regions.

    Stands beside :class:`~ovseg.evaluation.iou.OVIoUMetric` in ``test_evaluator``. Regions of all
    images add up before the ratio is taken, as for mIoU; pixels without a label do not count.

    Args:
        dilation: width of a region as a share of the image's diagonal; published 0.02.
        ignore_index: label that does not count.
        prefix: of the name of the score, as in mmengine.
        collect_device: as in mmengine.

    Attributes:
        scores: after the evaluation, the score in percent, not rounded.

    Raises:
        UserError: a width that is no share; no pixel with a label.

    Source: Boundary IoU (arXiv 2103.16562), for semantic masks.
    """

    # Scores go by their own names; mmengine warns where this is None.
    default_prefix = ''

    def __init__(
        self,
        dilation: float = 0.02,
        ignore_index: int = 255,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < dilation < 1:
            raise UserError(f'BoundaryIoUMetric.dilation must lie in (0, 1), got {dilation}')
        self.dilation = dilation
        self.ignore_index = ignore_index
        self.scores: dict[str, float] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the boundary regions of a batch.

        Args:
            data_batch: unused.
            data_samples: with ``pred_sem_seg`` and ``gt_sem_seg``, (1, H, W) each.
        """
        count = len(self.dataset_meta['classes'])
        for sample in data_samples:
            predicted, labelled = (
                sample[key]['data'].reshape(sample[key]['data'].shape[-2:]).cpu().numpy()
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            counts = boundary_counts(predicted, labelled, count, self.dilation, self.ignore_index)
            self.results.append(counts)

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The score in percent, rounded to 2 digits.

        Args:
            results: counts of each image.
        """
        both, either = torch.stack(results).sum(0).double()
        if not either.sum():
            raise UserError(no_labels(len(results), self.ignore_index))
        self.scores = {'boundary_mIoU': 100 * float((both / either).nanmean())}
        return {name: round(value, 2) for name, value in self.scores.items()}
