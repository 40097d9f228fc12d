"""Gaussian discriminant analysis: class means, one covariance, no training.

Source: A Hard-to-Beat Baseline for Training-Free CLIP-based Adaptation (arXiv 2402.04087),
sections 3.2 and 3.3; the published scale of its logits falls with the number of samples, ours does
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.exemplars.stats import shrunk
from ovseg.exemplars.support import Support
from ovseg.text import Classifier


@dataclass(frozen=True)
class GaussianRows:
    """Rows and biases of a discriminant, in float64.

    Attributes:
        means: (C, D).
        precision: (D, D), inverse of the shrunk covariance.
        published_scale: D / (N - 1 + D): the published precision, rows and quadratic biases are
            so many times ours.
        prior: (C,) logarithms.
    """

    means: Tensor
    precision: Tensor
    published_scale: float
    prior: Tensor

    @property
    def weight(self) -> Tensor:
        """(C, D)."""
        return self.means @ self.precision

    @property
    def quadratic(self) -> Tensor:
        """(C,), what a class's distance from 0 takes from its score."""
        return -0.5 * (self.weight * self.means).sum(1)

    def scores(self, features: Tensor, published: bool = False) -> Tensor:
        """(n, C) of unit features (n, D).

        Args:
            features: unit vectors.
            published: on the published scale.
        """
        linear = features.double() @ self.weight.T + self.quadratic
        return linear * (self.published_scale if published else 1.0) + self.prior


def fit_gaussians(features: Tensor, labels: Tensor, count: int) -> GaussianRows:
    """Class means and the shared covariance of samples, as published.

    Args:
        features: (N, D), of any length; they are brought to unit length first.
        labels: (N,) int64.
        count: C; each class has a sample at least.
    """
    unit = F.normalize(features.double(), dim=1)
    numbers = torch.bincount(labels, minlength=count).double()
    means = torch.zeros(count, unit.shape[1], dtype=unit.dtype).index_add_(0, labels, unit)
    means = means / numbers[:, None]
    residuals = unit - means[labels]
    scatter = residuals.T @ residuals
    samples, dim = unit.shape
    covariance = shrunk(scatter / (samples - 1), samples)
    return GaussianRows(
        means,
        inverse(covariance),
        dim / (samples - 1 + dim),
        means.new_full((count,), 1 / count).log(),
    )


def inverse(covariance: Tensor) -> Tensor:
    """Inverse of a positive definite matrix by its Cholesky factor.

    Args:
        covariance: (D, D) float64.
    """
    return torch.cholesky_inverse(torch.linalg.cholesky(covariance))


def choose_weight(
    base: Tensor, added: Tensor, labels: Tensor, weights: Sequence[float]
) -> tuple[float, float]:
    """The first of the weights at which ``base + weight * added`` is right most often.

    Args:
        base: (n, C) scores.
        added: (n, C) scores.
        labels: (n,) int64.
        weights: in the order in which they are tried.

    Returns:
        The weight, and in how many percent of the samples it is right.
    """
    best = (weights[0], -1.0)
    for weight in weights:
        right = (base + weight * added).argmax(1) == labels
        percent = 100 * float(right.double().mean())
        if percent > best[1]:
            best = (weight, percent)
    return best


# alpha' of rows whose covariance is not scaled by the number of samples.
ALPHA = 1.0


def gda(support: Support, alpha: float = ALPHA) -> Classifier:
    """Words plus Gaussians: ``s u.t + alpha (u.W + b)``, one row a class.

    Means are of pooled vectors, the covariance is that of patches; a class without exemplars has
    the mean that its words expect. It suits banks in which all classes have exemplars.

    Args:
        support: exemplars beside the words.
        alpha: weight of the Gaussians; the published one times (N - 1 + D) / D.

    Raises:
        UserError: a weight that is no positive number.
    """
    if not alpha > 0:
        raise UserError(f'alpha of gda must be positive, got {alpha}')
    means = support.filled
    rows = GaussianRows(means, inverse(support.stats.covariance()), 1.0, torch.zeros(len(means)))
    scale = support.words.logit_scale
    text = torch.where(support.nameless[:, None], support.text, support.rows)
    return support.classifier(text + alpha / scale * rows.weight, alpha / scale * rows.quadratic)
