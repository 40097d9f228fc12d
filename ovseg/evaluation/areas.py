"""Counting pixels by class, and the scores that follow from the counts. No state, no framework."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Up to here the full matrix is cheaper than three histograms and says more.
MATRIX_CLASSES = 1000


@dataclass(frozen=True)
class Areas:
    """Pixel counts of each class over any number of images.

    Attributes:
        intersection: (K,) int64, pixels where prediction and label are this class.
        prediction: (K,) int64, pixels predicted as this class (where the label is not ignored).
        label: (K,) int64, pixels labelled as this class, whatever was predicted there.
    """

    intersection: Tensor
    prediction: Tensor
    label: Tensor

    @classmethod
    def of_matrix(cls, matrix: Tensor) -> Areas:
        """The counts that a confusion matrix (K, K + 1) of :func:`confusion_matrix` holds."""
        return cls(matrix.diagonal().clone(), matrix[:, :-1].sum(0), matrix.sum(1))

    @property
    def union(self) -> Tensor:
        """(K,) int64, pixels where prediction or label are this class."""
        return self.prediction + self.label - self.intersection

    @property
    def iou(self) -> Tensor:
        """(K,) float64 in [0, 1]; NaN for a class that is neither labelled nor predicted."""
        return self.intersection.double() / self.union.double()

    @property
    def accuracy(self) -> Tensor:
        """(K,) float64 in [0, 1], share of the labelled pixels found; NaN without labels."""
        return self.intersection.double() / self.label.double()


def confusion_matrix(
    prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Pixel counts (K, K + 1), int64, on the device of the prediction.

    Row k holds the pixels labelled k, column j those predicted j. The last column counts
    predictions outside of [0, K): they are errors of the labelled class and hits of none.

    Args:
        prediction: integers of any shape.
        label: integers of the same shape.
        num_classes: K.
        ignore_index: pixels with this label do not count.

    Raises:
        ValueError: shapes differ, or a label is neither a class nor ``ignore_index``.
    """
    prediction, label = _counted(prediction, label, num_classes, ignore_index)
    columns = num_classes + 1
    key = label * columns + prediction
    return torch.bincount(key, minlength=num_classes * columns).view(num_classes, columns)


def count_areas(
    prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Intersection, prediction and label counts (3, K), int64, without the K x K matrix.

    Arguments and errors are those of :func:`confusion_matrix`; the counts are those of
    :class:`Areas`.
    """
    prediction, label = _counted(prediction, label, num_classes, ignore_index)
    return torch.stack(
        [
            torch.bincount(label[prediction == label], minlength=num_classes),
            torch.bincount(prediction, minlength=num_classes + 1)[:-1],
            torch.bincount(label, minlength=num_classes),
        ]
    )


def _counted(
    prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Flat int64 prediction in [0, K] (K: outside) and label in [0, K) of the pixels that count."""
    if prediction.shape != label.shape:
        raise ValueError(
            f'the prediction is {tuple(prediction.shape)} but the label {tuple(label.shape)}'
        )
    label = label.to(prediction.device)
    counts = label != ignore_index
    label, prediction = label[counts].long(), prediction[counts].long()
    is_class = (label >= 0) & (label < num_classes)
    if not bool(is_class.all()):
        wrong = label[~is_class]
        raise ValueError(
            f'{len(wrong)} pixels have a label that is no class, the first {int(wrong[0])}, but '
            f'there are {num_classes} classes and only {ignore_index} is ignored'
        )
    is_class = (prediction >= 0) & (prediction < num_classes)
    return torch.where(is_class, prediction, num_classes), label


def summarise(areas: Areas) -> dict[str, float]:
    """The scores of a data set, in percent, not rounded.

    Returns:
        ``aAcc``, the share of pixels that are right; ``mIoU``, the mean over classes that are
        labelled or predicted somewhere (mmsegmentation's mean); ``mIoU_present``, the mean over
        classes that are labelled somewhere; ``mAcc``, the mean accuracy of labelled classes; and
        ``zero_iou_share``, the share of the labelled classes without a single pixel right. NaN
        where there is nothing to average.
    """
    iou, present = areas.iou, areas.label > 0
    hits, pixels = areas.intersection.sum().double(), areas.label.sum().double()
    scores = {
        'aAcc': hits / pixels,
        'mIoU': iou.nanmean(),
        'mIoU_present': iou[present].mean(),
        'mAcc': areas.accuracy.nanmean(),
        'zero_iou_share': (areas.intersection[present] == 0).double().mean(),
    }
    return {name: 100 * float(value) for name, value in scores.items()}
