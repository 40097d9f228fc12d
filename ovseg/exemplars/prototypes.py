"""Mean exemplars and words in one row a class, in the place where images lie."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.support import Support
from ovseg.text import Classifier


def prototypes(support: Support, share: float | None = None, gap: bool = True) -> Classifier:
    """One row a class: its mean exemplar mixed with its words, moved to where images lie.

    ``N(l v + (1 - l)(t + d))``, ``N(t + d)`` without exemplars; ``d`` is the gap between images and
    words. Without the gap, classes with exemplars take the pixels of the others.

    Args:
        support: exemplars beside the words.
        share: l in [0, 1]; None for n / (n + 1) of n images.
        gap: whether words are moved.

    Source: our own; the mixture is that of many few-shot methods.
    """
    return support.classifier(F.normalize(mixed_means(support, share, gap), dim=1))


def mixed_means(support: Support, share: float | None = None, gap: bool = True) -> Tensor:
    """``l v + (1 - l)(t + d)``, (E, D).

    Args:
        support: exemplars beside the words.
        share: see :func:`prototypes`.
        gap: likewise.
    """
    number = support.number
    shares = number / (number + 1) if share is None else share * support.has.double()
    text = support.expected if gap else support.text
    return torch.lerp(text, support.means, shares[:, None])
