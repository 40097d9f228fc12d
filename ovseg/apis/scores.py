"""Mean score of each class, measured while labels are decided strip by strip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovseg.text import Classifier


class MeasuredClassifier:
    """A classifier that remembers how sure it was of the pixels that it gave to each class.

    It stands in for the classifier in ``segment_encoding``. Scores of all classes never exist at
    full size that way, so memory does not grow with the image times the classes.

    Args:
        classifier: decides as before.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._sums = torch.zeros(classifier.num_classes, dtype=torch.float64)
        self._counts = torch.zeros(classifier.num_classes, dtype=torch.int64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def to(self, device: torch.device | str) -> MeasuredClassifier:
        """Itself, its rows on ``device``."""
        self._classifier = self._classifier.to(device)
        return self

    def decide(self, rows: Tensor, **settings: Any) -> Tensor:
        """Labels (B, H, W) of scores (B, P, H, W), as the classifier decides them."""
        labels = self._classifier.decide(rows, **settings)
        probabilities = self._classifier.probabilities(rows, **settings)
        own = probabilities.gather(1, labels[:, None])[:, 0]
        flat = labels.flatten()
        size = len(self._sums)
        sums = torch.zeros(size, dtype=torch.float64, device=flat.device)
        self._sums += sums.index_add_(0, flat, own.flatten().double()).cpu()
        self._counts += torch.bincount(flat, minlength=size).cpu()
        return labels

    def mean_scores(self) -> np.ndarray:
        """(K,) mean probability of each class over its own pixels.

        NaN for classes without pixels, and for a background that has no words of its own (pixels
        come to it by rejection, it has no probability).
        """
        has_words = torch.zeros(len(self._sums), dtype=torch.bool)
        has_words[self._classifier.class_index.cpu()] = True
        means = self._sums / self._counts
        means[~has_words] = float('nan')
        return means.numpy()
