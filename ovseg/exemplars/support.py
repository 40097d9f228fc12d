"""Exemplars beside the words that are asked for: which class has how many, and what words lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.stats import Stats
from ovseg.text import Classifier

# Between lengths that are unit up to rounding and those that say nothing.
_NO_DIRECTION = 1e-8


@dataclass(frozen=True, eq=False)
class Support:
    """E entries of a classifier: one for each class with exemplars, and each row of the others.

    All tensors lie on the CPU; vectors are float64, samples as the bank keeps them.

    Attributes:
        words: the classifier of the words alone, one row a class where rows add up.
        rows: (E, D), the words' rows as they are.
        class_index: (E,) int64, ascending.
        row_weight: (E,).
        row_bias: (E,), what is added to the words' scores.
        vectors: (P, D) unit vectors of exemplars.
        entry: (P,) int64, whose they are.
        image: (P,) int64, which image they come from.
        samples: (M, D) unit features of patches.
        sample_row: (M,) int64, the exemplar of each.
        context: (D,) mean patch of the images that exemplars came from.
        stats: of these exemplars by entry; scatter and freedom are of the whole bank.
        nameless: (E,) bool, classes whose words mean nothing.
    """

    words: Classifier
    rows: Tensor
    class_index: Tensor
    row_weight: Tensor
    row_bias: Tensor
    vectors: Tensor
    entry: Tensor
    image: Tensor
    samples: Tensor
    sample_row: Tensor
    context: Tensor
    stats: Stats
    nameless: Tensor

    @cached_property
    def number(self) -> Tensor:
        """How many images each entry has, (E,)."""
        return self.stats.number

    @cached_property
    def has(self) -> Tensor:
        """Which entries have exemplars, (E,) bool."""
        return self.number > 0

    @cached_property
    def means(self) -> Tensor:
        """Mean pooled vector of each entry, (E, D); 0 without exemplars."""
        return self.stats.total / self.number.clamp_min(1)[:, None]

    @cached_property
    def text(self) -> Tensor:
        """Unit vectors of the words, (E, D); of a nameless class its exemplars, less the gap."""
        text = F.normalize(self.rows, dim=1)
        guessed = F.normalize(self.means - self.gap, dim=1)
        return torch.where(self.nameless[:, None], guessed, text)

    @cached_property
    def gap(self) -> Tensor:
        """What image vectors have more than words, (D,): the mean over classes that have both.

        One class alone cannot tell what is the gap and what is its own; then it is the mean patch
        of its images less the mean of the words.
        """
        both = self.has & ~self.nameless
        text = F.normalize(self.rows, dim=1)
        if int(both.sum()) > 1:
            return (self.means - text)[both].mean(0)
        named = text[~self.nameless] if not self.nameless.all() else text
        return self.context - named.mean(0)

    @cached_property
    def expected(self) -> Tensor:
        """Where the images of each entry lie by its words, (E, D)."""
        return self.text + self.gap

    @cached_property
    def filled(self) -> Tensor:
        """The classes' means; of those without exemplars, what their words expect, (E, D)."""
        # Of the length of a mean, else those without would differ by it from the others.
        expected = F.normalize(self.expected, dim=1) * self.means[self.has].norm(dim=1).mean()
        return torch.where(self.has[:, None], self.means, expected)

    @cached_property
    def sample_entry(self) -> Tensor:
        """Whose patches the samples are, (M,)."""
        return self.entry[self.sample_row]

    def balanced(self, values: Tensor) -> Tensor:
        """Mean over classes of the mean over a class's entries.

        Args:
            values: (E, D).
        """
        counts = torch.bincount(self.class_index)[self.class_index].double()
        shares = 1 / counts
        return (values * shares[:, None]).sum(0) / shares.sum()

    def classifier(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        scale: float | None = None,
        kind: type[Classifier] = Classifier,
        **more: Any,
    ) -> Classifier:
        """Rows for the entries.

        Args:
            weight: (E, D).
            bias: (E,), or None.
            scale: factor before a softmax; None for the words'.
            kind: the class of the classifier.
            more: its further fields.
        """
        words = self.words
        scale = words.logit_scale if scale is None else float(scale)
        # In logits the words' own additions stay what they were.
        own = self.row_bias * (words.logit_scale / scale)
        return kind(
            weight=weight.float(),
            class_index=self.class_index,
            num_classes=words.num_classes,
            logit_scale=scale,
            row_weight=self.row_weight,
            bias=own if bias is None else bias.float() + own,
            origin=tuple('exemplar' if has else 'derived' for has in self.has.tolist()),
            aggregation=words.aggregation,
            rejection=words.rejection,
            background_index=words.background_index,
            fingerprint=words.fingerprint,
            **more,
        )

    def without(self, chosen: Tensor) -> Support:
        """The same without some exemplars; sums are subtracted, not made anew.

        Args:
            chosen: (P,) bool.
        """
        kept = ~chosen
        position = kept.long().cumsum(0) - 1
        out, stay = chosen[self.sample_row], kept[self.sample_row]
        gone_position = chosen.long().cumsum(0) - 1
        gone = Stats.of(
            self.vectors[chosen],
            self.entry[chosen],
            self.samples[out],
            gone_position[self.sample_row[out]],
            len(self.rows),
        )
        return replace(
            self,
            vectors=self.vectors[kept],
            entry=self.entry[kept],
            image=self.image[kept],
            samples=self.samples[stay],
            sample_row=position[self.sample_row[stay]],
            stats=self.stats - gone,
        )


@dataclass(frozen=True, eq=False)
class Entries:
    """Rows of words, one for each class with exemplars.

    Attributes:
        rows: (E, D) float64.
        class_index: (E,) int64, ascending.
        row_weight: (E,) float32.
        row_bias: (E,) float32.
    """

    rows: Tensor
    class_index: Tensor
    row_weight: Tensor
    row_bias: Tensor


def entries_of(words: Classifier, supported: Sequence[int]) -> Entries:
    """The entries of a classifier; a class with exemplars has one, the mean of its rows.

    Args:
        words: folded, so that a class has several rows only where they do not add up.
        supported: classes with exemplars, each with a row at least.
    """
    rows, labels = words.weight.double().cpu(), words.class_index.cpu()
    shares, biases = words.row_weight.cpu(), words.bias.cpu()
    parts: list[tuple[Tensor, ...]] = []
    for label in labels.unique().tolist():
        own = labels == label
        part = rows[own], labels[own], shares[own], biases[own]
        if label in supported and int(own.sum()) > 1:
            mean = (part[0] * part[2].double()[:, None]).mean(0, keepdim=True)
            mean = mean if mean.norm() > _NO_DIRECTION else part[0][:1]
            one = part[3].mean(0, keepdim=True)
            part = F.normalize(mean, dim=1), part[1][:1], torch.ones(1), one
        parts.append(part)
    return Entries(*(torch.cat(values) for values in zip(*parts, strict=True)))
