"""Tip-Adapter: each exemplar is a key, and what is near it gets its class.

Source: Tip-Adapter (arXiv 2207.09519), section 3.2, and its released ``utils.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.exemplars.key_strips import at_once
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# The paper's usual values.
ALPHA, BETA = 1.0, 5.5


@dataclass(frozen=True, eq=False)
class KeyedClassifier(Classifier):
    """Rows, and keys whose nearness adds to the score of a row.

    Attributes:
        keys: (N, D) unit vectors, float32.
        key_values: (N, P), what each adds to each row's logit where a feature is the key.
        sharpness: beta; a key at cosine c adds ``exp(-beta (1 - c))`` of its value.
    """

    keys: Tensor = field(kw_only=True)
    key_values: Tensor = field(kw_only=True)
    sharpness: float = field(kw_only=True)

    def to(self, device: torch.device | str) -> KeyedClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        keys, values = self.keys.to(device), self.key_values.to(device)
        return replace(super().to(device), keys=keys, key_values=values)

    def row_scores(self, features: Tensor, normalize: bool = True) -> Tensor:
        """See :class:`~ovseg.text.Classifier`."""
        scores = super().row_scores(features, normalize)
        flat = features.float().movedim(1, -1).flatten(0, 2)
        if normalize:
            flat = F.normalize(flat, dim=1)
        near = self._near(flat).unflatten(0, (scores.shape[0], *scores.shape[2:]))
        return scores + near.movedim(-1, 1) / self.logit_scale

    def _near(self, unit: Tensor) -> Tensor:
        """(n, P) of unit features (n, D), some keys at a time."""
        total = unit.new_zeros(len(unit), self.key_values.shape[1])
        count = at_once(len(unit))
        with torch.autocast(unit.device.type, enabled=False):
            for keys, values in zip(
                self.keys.split(count), self.key_values.split(count), strict=True
            ):
                total += key_scores(unit @ keys.T, values, self.sharpness)
        return total


def cache_keys(views: Tensor) -> Tensor:
    """Keys of exemplars: the mean of their views, brought to unit length.

    Args:
        views: (V, N, D) encodings of V augmented views of N exemplars.
    """
    return F.normalize(views.mean(0), dim=-1)


def key_scores(cosines: Tensor, values: Tensor, beta: float) -> Tensor:
    """``exp(-beta (1 - u.k)) L``.

    Args:
        cosines: (n, N) of features with keys.
        values: (N, C), what keys stand for.
        beta: how fast a key's say falls.
    """
    return torch.exp(-beta * (1 - cosines)) @ values


def search_weights(
    text: Tensor,
    cosines: Tensor,
    values: Tensor,
    labels: Tensor,
    search_scale: Sequence[float],
    search_step: Sequence[int],
) -> tuple[float, float]:
    """The published grid search: the first (beta, alpha) that is right most often.

    Args:
        text: (n, C) logits of the words.
        cosines: (n, N).
        values: (N, C).
        labels: (n,) int64.
        search_scale: upper ends of beta and alpha, not reached; the lower ones are 0.1.
        search_step: numbers of steps.
    """
    betas, alphas = (
        [index * (end - 0.1) / steps + 0.1 for index in range(steps)]
        for end, steps in zip(search_scale, search_step, strict=True)
    )
    best, chosen = 0, (betas[0], alphas[0])
    for beta in betas:
        near = key_scores(cosines, values, beta)
        for alpha in alphas:
            right = int(((text + alpha * near).argmax(1) == labels).sum())
            if right > best:
                best, chosen = right, (beta, alpha)
    return chosen


def tip_adapter(
    support: Support, alpha: float = ALPHA, beta: float = BETA, mean: bool = True
) -> Classifier:
    """Words plus keys: ``s u.t + alpha sum_i exp(-beta (1 - u.k_i)) L_i``.

    Args:
        support: exemplars beside the words.
        alpha: weight of the keys.
        beta: how fast a key's say falls.
        mean: divide a class's sum by the number of its exemplars; off as published, where a class
            with more of them scores more.

    Raises:
        UserError: weights that are not positive.
    """
    if not (alpha > 0 and beta > 0):
        raise UserError(f'alpha and beta of tip must be positive, got {alpha} and {beta}')
    values = F.one_hot(support.entry, len(support.rows)).double()
    if mean:
        values = values / support.number[support.entry][:, None]
    text = torch.where(support.nameless[:, None], support.text, support.rows)
    return support.classifier(
        text,
        kind=KeyedClassifier,
        keys=support.vectors.float(),
        key_values=alpha * values.float(),
        sharpness=beta,
    )
