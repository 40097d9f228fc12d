"""A world of vectors for rules that mix words and exemplars: gap, shifts, scenes, twins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.exemplars.stats import Stats
from ovseg.exemplars.support import Support, entries_of
from ovseg.text import Classifier

PATCHES = 24


@dataclass(frozen=True)
class VectorWorld:
    """Classes of which words and images say partly different things.

    ``image = N(g_v + class + shift + instance + scene + A eps)`` and
    ``text = N(g_t + class + noise)``; a quarter of the classes are pairs that hardly differ.
    """

    text: Tensor
    visual: Tensor
    mixing: Tensor
    generator: torch.Generator

    @classmethod
    def make(cls, classes: int, dim: int, seed: int) -> VectorWorld:
        generator = torch.Generator().manual_seed(seed)

        def directions(count: int, length: float) -> Tensor:
            drawn = torch.randn(count, dim, generator=generator)
            return length * drawn / dim**0.5

        gap_visual, gap_text = (
            1.2 * F.normalize(torch.randn(dim, generator=generator), dim=0) for _ in range(2)
        )
        own = directions(classes, 1.0)
        for first in range(0, classes // 4, 2):
            own[first + 1] = own[first] + directions(1, 0.35)[0]
        text = F.normalize(gap_text + own + directions(classes, 0.6), dim=1)
        visual = gap_visual + own + directions(classes, 0.35)
        spread = torch.exp(0.8 * torch.randn(dim, generator=generator))
        turn = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
        mixing = turn * spread / spread.square().mean().sqrt() @ turn.T / dim**0.5
        return cls(text, visual, mixing, generator)

    def image(self, labels: Tensor) -> Tensor:
        """Unit patches (n, PATCHES, D) of an image that shows classes (n,)."""
        dim = self.text.shape[1]
        noise = torch.randn(len(labels), PATCHES, dim, generator=self.generator) @ self.mixing
        instance, scene = (
            length * torch.randn(*shape, dim, generator=self.generator) / dim**0.5
            for length, shape in ((0.45, (len(labels), 1)), (0.25, (1, 1)))
        )
        patches = self.visual[labels][:, None] + instance + scene + 2.2 * noise
        return F.normalize(patches, dim=2)

    def words(self) -> Classifier:
        """Text rows, one a class."""
        return Classifier(self.text, torch.arange(len(self.text)), len(self.text), 100.0)

    def images(self, each: int) -> list[tuple[Tensor, Tensor]]:
        """``each`` images of all classes, five at a time: labels (5,), patches (5, PATCHES, D)."""
        made = []
        for _ in range(each):
            order = torch.randperm(len(self.text), generator=self.generator)
            made += [(labels, self.image(labels)) for labels in order.split(5)]
        return made

    def support(self, each: int, supported: Tensor) -> Support:
        """Exemplars of ``each`` images of every supported class."""
        vectors, classes, images, samples, contexts = [], [], [], [], []
        for number, (labels, patches) in enumerate(self.images(each)):
            contexts.append(patches.flatten(0, 1).mean(0))
            for label, own in zip(labels.tolist(), patches, strict=True):
                if label in supported.tolist():
                    vectors.append(F.normalize(own.mean(0), dim=0))
                    classes.append(label)
                    images.append(number)
                    samples.append(own)
        return support_from(
            self.words(),
            torch.stack(vectors),
            torch.tensor(classes),
            torch.tensor(images),
            torch.cat(samples),
            torch.arange(len(vectors)).repeat_interleave(PATCHES),
            torch.stack(contexts).mean(0),
        )

    def iou(self, classifier: Classifier, images: list[tuple[Tensor, Tensor]]) -> Tensor:
        """IoU of each class in percent (C,), over images."""
        count = len(self.text)
        confusion = torch.zeros(count, count)
        for labels, patches in images:
            features = patches.flatten(0, 1).T[None, :, :, None]
            found = classifier.scores(features)[0, :, :, 0].argmax(0)
            truth = labels.repeat_interleave(PATCHES)
            confusion.index_put_((truth, found), torch.ones(len(found)), accumulate=True)
        both = confusion.diagonal()
        return 100 * both / (confusion.sum(0) + confusion.sum(1) - both)


def support_from(
    words: Classifier,
    vectors: Tensor,
    classes: Tensor,
    image: Tensor,
    samples: Tensor,
    sample_row: Tensor,
    context: Tensor,
) -> Support:
    """Exemplars of a classifier's classes, as a bank gives them."""
    entries = entries_of(words, classes.unique().tolist())
    count = len(entries.rows)
    return Support(
        words,
        **vars(entries),
        vectors=vectors.double(),
        entry=classes,
        image=image,
        samples=samples.double(),
        sample_row=sample_row,
        context=context.double(),
        stats=Stats.of(vectors, classes, samples, sample_row, count),
        nameless=torch.zeros(count, dtype=torch.bool),
    )
