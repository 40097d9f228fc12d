"""The text-anchored Bayes rule: what words say is the prior of what exemplars show.

A class's mean in images is ``m = t + d + e``: its words, the gap between images and words that all
classes share, and what words do not say, ``e ~ N(0, rho S)``. A pooled exemplar is
``v ~ N(m, omega S)``, a patch ``u ~ N(m, S)``. The posterior mean of a class with few exemplars
lies near its words, with many near these; a class without any stays comparable to the others, so
that partial support does not pull all pixels to the classes that have some.

Source: our own; no published method. All classes supported and many images make it Gaussian
discriminant analysis with means of one length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.gda import inverse
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# What words do not say is at least this share of what exemplars differ from them.
_LEAST_SHARE = 0.1
# Factors of the scores among which the likeliest is looked for.
_SCALES = (0.25, 1000.0)
_MOST_SAMPLES = 4096
_HALVINGS = 40


@dataclass(frozen=True)
class Posterior:
    """What words and exemplars together say of the classes.

    Attributes:
        root: (D, D), L with ``L L' = S^-1``: features times L are white.
        means: (E, D), posterior means.
        share: (E,) in [0, 1], how much of them is exemplars.
        unsaid: rho, variance of what words do not say, in units of the patches'.
        between: omega, variance of a class's exemplars.
    """

    root: Tensor
    means: Tensor
    share: Tensor
    unsaid: float
    between: float


def posterior(support: Support) -> Posterior:
    """Posterior means of the classes.

    Args:
        support: exemplars beside the words; one class has some at least.
    """
    has, number = support.has, support.number
    precision = inverse(support.stats.covariance())
    root = torch.linalg.cholesky(precision)
    dim, classes = len(precision), int(has.sum())
    residuals = ((support.means - support.expected)[has] @ root).square().mean(1)
    # The gap was fitted to these residuals where there are two classes or more.
    differ = float(residuals.mean()) * (classes / (classes - 1) if classes > 1 else 1.0)
    between = _between(support, precision, differ, dim)
    unsaid = differ - float((between / number[has]).mean())
    unsaid = max(unsaid, _LEAST_SHARE * differ, 1e-12)
    seen = number / max(between, 1e-12)
    share = seen / (seen + 1 / unsaid)
    means = torch.lerp(support.expected, support.means, share[:, None])
    return Posterior(root, means, share, unsaid, between)


def _between(support: Support, precision: Tensor, differ: float, dim: int) -> float:
    """Omega from classes with two images or more; half of what differs where there is none."""
    number = support.number
    several = number > 1
    if not several.any():
        return differ / 2
    residuals = support.vectors - support.means[support.entry]
    freedom = float((number[several] - 1).sum())
    return float(((residuals @ precision) * residuals).sum()) / (dim * freedom)


def bayes(support: Support) -> Classifier:
    """One row and bias a class: ``s <z - q, N(m - c)>`` of white features z.

    ``q`` is the mean patch of the exemplars' images and ``c`` the mean of the classes. ``s`` makes
    the exemplars' patches as likely as one number can.

    Args:
        support: exemplars beside the words; one class has some at least.
    """
    found = posterior(support)
    white = found.means @ found.root
    directions = F.normalize(white - support.balanced(white), dim=1)
    weight = directions @ found.root.T
    bias = -(directions @ (support.context @ found.root))
    scale = _likeliest_scale(support, weight, bias)
    return support.classifier(weight, bias, scale=scale)


def _likeliest_scale(support: Support, weight: Tensor, bias: Tensor) -> float:
    """The factor under which a softmax gives the exemplars' patches to their classes.

    The likelihood of one factor is concave, so that the interval is narrowed around its slope's 0.
    """
    samples, entry = support.samples, support.sample_entry
    if not len(samples):
        samples, entry = support.vectors, support.entry
    step = -(-len(samples) // _MOST_SAMPLES)
    samples, entry = samples[::step].double(), entry[::step]
    # Each class has the same say, however many patches it has.
    weights = 1 / torch.bincount(entry, minlength=len(weight))[entry].double()
    scores = samples @ weight.T + bias
    own = scores.gather(1, entry[:, None])[:, 0]
    low, high = (math.log(end) for end in _SCALES)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = ((math.exp(middle) * scores).softmax(1) * scores).sum(1)
        if float((weights * (own - expected)).sum()) > 0:
            low = middle
        else:
            high = middle
    return math.exp(low)
