"""Map correction: every region gets the label that most of its pixels have."""

from __future__ import annotations

import torch
from torch import Tensor


def majority_labels(labels: Tensor, regions: Tensor) -> Tensor:
    """Returns labels that are constant within regions.

    Pixels of the smallest region id, which nothing claimed, keep their own.

    Args:
        labels: (H, W) int64, at least 0.
        regions: (H, W) int64, any ids.

    Returns:
        (H, W) int64; where labels are equally frequent in a region, the smaller one.

    Source: CorrCLIP (arXiv 2411.10086), map correction.

    Example:
        >>> labels, regions = torch.tensor([[2, 1, 1, 4]]), torch.tensor([[5, 5, 5, 0]])
        >>> majority_labels(labels, regions)
        tensor([[1, 1, 1, 4]])
    """
    values, index = regions.unique(return_inverse=True)
    classes = int(labels.max()) + 1
    counts = (index * classes + labels).flatten().bincount(minlength=len(values) * classes)
    # Ties by arithmetic: which of several maxima argmax finds depends on the device.
    first = torch.arange(classes - 1, -1, -1, device=labels.device)
    winners = (counts.view(-1, classes) * classes + first).argmax(1)
    return torch.where(index == 0, labels, winners[index])
