"""Which rows of a class won its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.scores.row_map import RowMap
from ovseg.text import Classifier


def won_pixels(
    scores: RowMap, classifier: Classifier, labels: Tensor, label: int, budget: MemoryBudget
) -> Tensor:
    """How many of a class's pixels each of its rows scored most in, read in strips.

    Args:
        scores: P maps, one a row of the classifier.
        classifier: the rows.
        labels: (H, W) int64.
        label: the class.
        budget: what strips may take.

    Returns:
        (R,) int64 for the R rows of the class.
    """
    of_class = (classifier.class_index == label).nonzero().flatten()
    counts = torch.zeros(len(of_class), dtype=torch.int64, device=labels.device)
    if not len(of_class):
        return counts
    rows = slice(int(of_class[0]), int(of_class[-1]) + 1)  # rows ascend by class
    for start, stop in scores.strips(budget):
        winner = scores.rows(start, stop, rows).argmax(0)
        own = winner[labels[start:stop] == label]
        counts += own.bincount(minlength=len(counts))
    return counts
