"""Retrieve and Segment: a linear classifier for each image, of exemplars that are like its patches.

Source: Retrieve and Segment, released ``core/rns.py`` (``RNS_Inference``); the number of steps and
the random start are part of the method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.key_strips import at_once
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# Retrieved exemplars that an image is fitted to, at most: those that most patches chose.
_MOST_RETRIEVED = 1024


@dataclass(frozen=True)
class RNSSettings:
    """Of the fit; the defaults are published.

    Attributes:
        k: exemplars that a patch retrieves.
        class_score_temperature: of the image's mean patch with the words.
        text_scale: of cosines with the words.
        beta_mixed: weight of mixtures of exemplars and words.
        beta_pseudo: weight of rows of classes without exemplars.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        epochs: steps, each with all rows.
        visual_weights: how much of a mixture is exemplars.
        seed: of the random start.
    """

    k: int = 4
    class_score_temperature: float = 10.0
    text_scale: float = 100.0
    beta_mixed: float = 1.5
    beta_pseudo: float = 0.2
    lr: float = 0.002
    weight_decay: float = 0.0005
    epochs: int = 700
    visual_weights: tuple[float, ...] = (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)
    seed: int = 0


@dataclass(frozen=True)
class TrainingRows:
    """What the classifier of an image is fitted to.

    Attributes:
        features: (R, D) unit vectors.
        labels: (R, C), shares of classes.
        weights: (R,), they sum up to 1.
        losses: (R,), further factors of the rows by their kind.
        counts: rows of exemplars, of mixtures, of classes without exemplars, in this order.
        retrieved: which exemplars, ascending.
        class_scores: (C,), how likely each class is in the image.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor
    losses: Tensor
    counts: tuple[int, int, int]
    retrieved: Tensor
    class_scores: Tensor


def class_means(bank: Tensor, classes: Tensor, count: int) -> Tensor:
    """Sum of each class's exemplars, brought to unit length; 0 without any, (C, D).

    Args:
        bank: (P, D) unit vectors.
        classes: (P,) int64.
        count: C.
    """
    return F.normalize(bank.new_zeros(count, bank.shape[1]).index_add_(0, classes, bank), dim=1)


def mixtures(visual: Tensor, text: Tensor, shares: tuple[float, ...]) -> Tensor:
    """``N(a v + (1 - a) t)`` for each share a, (A, C, D); 0 for a class whose ``v`` is 0.

    Args:
        visual: (C, D).
        text: (C, D).
        shares: A of them; the visual vector is multiplied by them.
    """
    a = torch.tensor(shares, dtype=text.dtype, device=text.device)[:, None, None]
    has = visual.any(1, keepdim=True)
    return F.normalize(a * visual + (1 - a) * text, dim=-1) * has


def training_rows(
    patches: Tensor, bank: Tensor, classes: Tensor, text: Tensor, settings: RNSSettings
) -> TrainingRows:
    """Rows for an image: what its patches retrieve, mixtures, and words without exemplars.

    Args:
        patches: (n, D) features of the image.
        bank: (P, D) unit vectors of exemplars, P at least 1.
        classes: (P,) int64.
        text: (C, D) unit vectors.
        settings: of the fit.
    """
    unit = F.normalize(patches, dim=1)
    count, dim = text.shape
    # The mean of what the encoder gave: its lengths count.
    image = F.normalize(unit.mean(0), dim=0)
    class_scores = (settings.class_score_temperature * (text @ image)).softmax(0)
    retrieved = _retrieved(unit, bank, settings.k)
    found = classes[retrieved].unique()
    mixed = mixtures(class_means(bank, classes, count), text, settings.visual_weights)[:, found]
    pseudo, of_pseudo = _pseudo_rows(unit, classes, text, settings)
    features = torch.cat([bank[retrieved], mixed.flatten(0, 1), pseudo.flatten(0, 1)])
    kinds = len(settings.visual_weights)
    hard = torch.cat([classes[retrieved], found.repeat(kinds)])
    soft = (settings.text_scale * pseudo.flatten(0, 1) @ text.T).softmax(1)
    labels = torch.cat([F.one_hot(hard, count).to(text), soft])
    rows = torch.cat([hard, of_pseudo.repeat(kinds)])
    weights = class_scores[rows]
    counts = (len(retrieved), mixed.shape[0] * mixed.shape[1], pseudo.shape[0] * pseudo.shape[1])
    factors = torch.tensor([1.0, settings.beta_mixed, settings.beta_pseudo], device=text.device)
    losses = factors.repeat_interleave(torch.tensor(counts, device=text.device))
    return TrainingRows(
        features, labels, weights / weights.sum(), losses, counts, retrieved, class_scores
    )


def _retrieved(unit: Tensor, bank: Tensor, k: int) -> Tensor:
    """Exemplars that are among the nearest k of a patch, ascending."""
    parts = unit.split(at_once(len(bank)))
    nearest = torch.cat([(part @ bank.T).topk(min(k, len(bank)), dim=1).indices for part in parts])
    chosen, votes = nearest.flatten().unique(return_counts=True)
    if len(chosen) <= _MOST_RETRIEVED:
        return chosen
    order = votes.argsort(descending=True, stable=True)[:_MOST_RETRIEVED]
    return chosen[order].sort().values


def _pseudo_rows(
    unit: Tensor, classes: Tensor, text: Tensor, settings: RNSSettings
) -> tuple[Tensor, Tensor]:
    """Mixtures (A, S, D) of words with the patches that they win, and their classes (S,).

    For classes without exemplars that win a patch by their words.
    """
    has = torch.zeros(len(text), dtype=torch.bool, device=text.device)
    has[classes] = True
    winners = (unit @ text.T).argmax(1)
    missing = winners[~has[winners]].unique()
    won = [F.normalize(unit[winners == label].mean(0), dim=0) for label in missing]
    visual = torch.stack(won) if won else text[:0]
    return mixtures(visual, text[missing], settings.visual_weights), missing


@dataclass(frozen=True)
class LinearFit:
    """A linear classifier.

    Attributes:
        weight: (C, D).
        bias: (C,).
        loss: before the last step.
    """

    weight: Tensor
    bias: Tensor
    loss: float


def random_start(count: int, dim: int, seed: int) -> Tensor:
    """Kaiming's uniform start of a linear layer by its inputs, (C, D).

    Args:
        count: C.
        dim: D.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(count, dim, generator=generator) - 1) * math.sqrt(6 / dim)


def fit_linear(rows: TrainingRows, start: Tensor, settings: RNSSettings) -> LinearFit:
    """A linear classifier of training rows, by full-batch AdamW.

    The gradient of a softmax's cross-entropy is written out, so that it runs in inference mode.

    Args:
        rows: to fit.
        start: (C, D).
        settings: of the fit.
    """
    factors = (rows.weights * rows.losses)[:, None] / len(rows.weights)
    with torch.inference_mode(False), torch.no_grad():
        features, labels, factors = (
            value.clone().float() for value in (rows.features, rows.labels, factors)
        )
        weight, bias = start.clone().float(), start.new_zeros(len(start), dtype=torch.float32)
        optimizer = torch.optim.AdamW(
            [weight, bias], lr=settings.lr, weight_decay=settings.weight_decay
        )
        loss = 0.0
        with torch.autocast(features.device.type, enabled=False):
            for step in range(settings.epochs):
                logits = torch.addmm(bias, features, weight.T)
                if step == settings.epochs - 1:
                    loss = _loss(logits, labels, factors)
                difference = (logits.softmax(1) - labels) * factors
                weight.grad, bias.grad = difference.T @ features, difference.sum(0)
                optimizer.step()
    return LinearFit(weight, bias, loss)


def _loss(logits: Tensor, labels: Tensor, factors: Tensor) -> float:
    """Cross-entropy of hard labels; of soft ones what it is above their own entropy."""
    own = torch.special.xlogy(labels, labels)
    return float((factors * (own - labels * logits.log_softmax(1))).sum())


@dataclass(frozen=True, eq=False)
class PerImageClassifier(Classifier):
    """Rows that are fitted anew to each image's patches.

    Attributes:
        bank: (N, D) unit vectors of exemplars.
        bank_rows: (N,) int64, whose they are.
        settings: of the fit.
    """

    bank: Tensor = field(kw_only=True)
    bank_rows: Tensor = field(kw_only=True)
    settings: RNSSettings = field(kw_only=True)

    def to(self, device: torch.device | str) -> PerImageClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        bank, rows = self.bank.to(device), self.bank_rows.to(device)
        return replace(super().to(device), bank=bank, bank_rows=rows)

    def bound(self, features: Tensor) -> Classifier:
        """The classifier of an image.

        Args:
            features: (windows, D, h, w) of the image.
        """
        patches = features.float().movedim(1, -1).flatten(0, 2)
        rows = training_rows(patches, self.bank, self.bank_rows, self.weight, self.settings)
        count, dim = self.weight.shape
        start = random_start(count, dim, self.settings.seed).to(self.weight.device)
        fit = fit_linear(rows, start, self.settings)
        own = {each.name: getattr(self, each.name) for each in fields(Classifier)}
        return Classifier(**{**own, 'weight': fit.weight, 'bias': fit.bias})

    def row_scores(self, features: Tensor, normalize: bool = True) -> Tensor:
        """Logits of the classifier that is fitted to these features, all windows of an image."""
        return self.bound(features).row_scores(features, normalize)


def rns(support: Support, k: int = 4, steps: int = 700, seed: int = 0) -> Classifier:
    """A classifier that is fitted to each image.

    Args:
        support: exemplars beside the words.
        k: exemplars that a patch retrieves.
        steps: of the fit; they bound its time.
        seed: of its random start.
    """
    return support.classifier(
        support.text,
        scale=1.0,
        kind=PerImageClassifier,
        bank=support.vectors.float(),
        bank_rows=support.entry,
        settings=RNSSettings(k=k, epochs=steps, seed=seed),
    )
