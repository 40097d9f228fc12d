"""Labelled images that examples are drawn from: read, encoded and pooled when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from ovseg.devices import wait_for
from ovseg.errors import UserError
from ovseg.exemplars.bank import LEAST_PATCHES, Bank
from ovseg.exemplars.pooling import IGNORED, Pooled
from ovseg.segmentors import Segmentor
from ovseg.segmentors.base import check_encodings
from ovseg.segmentors.exemplar_features import pool_encoding
from ovseg.segmentors.samples import batches_of

# As Retrieve and Segment draws: of a larger training split, the first so many of a seeded order.
_MOST_IMAGES = 5000
# Exemplars of an image hold a few hundred vectors; so many images stay in memory.
_MOST_KEPT = 2000


def encode_batch(model: Segmentor, batch: dict[str, Any]) -> list[tuple[Any, Tensor]]:
    """Encodings of a batch's images, and their labels (H, W) int64 on the CPU.

    Args:
        model: encodes.
        batch: as a data loader gives it.

    Raises:
        UserError: an image without labels, or features that are not numbers.
    """
    data = model.data_preprocessor(batch, False)
    samples = data['data_samples']
    encodings: list[Any] = []
    for images in batches_of(data['inputs'], samples, model.reads):
        encodings += model.encode(images)
    wait_for(model.device)
    check_encodings(encodings, type(model).__name__)
    return [
        (encoding, _labels(sample)) for encoding, sample in zip(encodings, samples, strict=True)
    ]


def _labels(sample: Any) -> Tensor:
    if 'gt_sem_seg' not in sample:
        raise UserError('a suite needs labels, and this data set has none')
    labels = sample.gt_sem_seg.data.cpu().long()
    return labels.reshape(labels.shape[-2:])


class SupportPool:
    """The images of a data set as a source of exemplars.

    Args:
        dataset: of mmseg, with labels.
        ignore_index: label of pixels that do not count.
        numbers: of the images, ascending; None for all of them, or for a seeded choice of 5000.
    """

    def __init__(
        self, dataset: Any, ignore_index: int = 255, numbers: Sequence[int] | None = None
    ) -> None:
        self._dataset, self._ignored = dataset, ignore_index
        if numbers is None:
            order = np.random.default_rng(0).permutation(len(dataset))
            numbers = sorted(order[:_MOST_IMAGES].tolist())
        self.numbers = tuple(numbers)
        self._shows: dict[int, frozenset[int]] = {}
        self._pooled: dict[int, Pooled] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def shows(self, number: int) -> frozenset[int]:
        """Labels of the classes that an image shows.

        Args:
            number: of the image in the data set.
        """
        if number not in self._shows:
            labels = _labels(self._dataset[number]['data_samples'])
            self._shows[number] = frozenset(labels.unique().tolist()) - {self._ignored}
        return self._shows[number]

    def pooled(self, model: Segmentor, number: int) -> Pooled:
        """Exemplars of the classes in an image, ``classes`` being labels of the data set.

        Args:
            model: encodes it, the first time.
            number: of the image in the data set.
        """
        if number not in self._pooled:
            batch = pseudo_collate([self._dataset[number]])
            ((encoding, labels),) = encode_batch(model, batch)
            present = labels.unique()
            present = present[present != self._ignored]
            # By number within the image: label maps beyond 255 classes use 255 as one of them.
            local = torch.searchsorted(present, labels).clamp_max(max(0, len(present) - 1))
            local = torch.where(labels == self._ignored, IGNORED, local)
            found = pool_encoding(encoding, local)
            while len(self._pooled) >= _MOST_KEPT:
                self._pooled.pop(next(iter(self._pooled)))
            self._pooled[number] = replace(found, classes=present[found.classes])
        return self._pooled[number]

    def draw(self, labels: Sequence[int], count: int, seed: int) -> list[int]:
        """Numbers of images of which each class has ``count``, where there are so many.

        The classes come in random order, for each of them images in random order until enough
        show it; an image counts for all the classes that it shows, so that fewer images than
        ``count`` times the classes do.

        Args:
            labels: the classes that are to have examples.
            count: images a class.
            seed: of the draw.

        Source: Retrieve and Segment, its draw of a support set.
        """
        chosen: list[int] = []
        for label in np.random.default_rng(seed).permutation(list(labels)).tolist():
            have = sum(label in self.shows(number) for number in chosen)
            if have < count:
                chosen += self.showing(label, count - have, (seed, label), chosen)
        return chosen

    def showing(
        self,
        label: int,
        count: int,
        seed: Sequence[int],
        without: Sequence[int] = (),
        model: Segmentor | None = None,
    ) -> list[int]:
        """Up to ``count`` images that show a class, in random order.

        Args:
            label: of the class.
            count: how many.
            seed: of the order.
            without: images that are not taken.
            model: where it is given, images are passed over that show less of the class than can
                be learnt from.
        """
        found: list[int] = []
        for number in np.random.default_rng(seed).permutation(self.numbers).tolist():
            if len(found) == count:
                break
            if number in without or label not in self.shows(number):
                continue
            if model is None or self._teaches(model, number, label):
                found.append(number)
        return found

    def _teaches(self, model: Segmentor, number: int, label: int) -> bool:
        return bool((self.pooled(model, number).only([label]).patches >= LEAST_PATCHES).any())

    def bank(
        self,
        model: Segmentor,
        numbers: Sequence[int],
        labels: Sequence[int],
        names: Sequence[str],
        nameless: Sequence[int] = (),
    ) -> Bank:
        """The exemplars that some classes have in some images.

        Args:
            model: whose features they are; it takes examples.
            numbers: of the images.
            labels: the classes whose pixels count.
            names: of all classes, by label.
            nameless: classes whose names count as meaning nothing.

        Raises:
            UserError: none of the images shows enough of these classes.
        """
        assert model.taught is not None  # checked by whoever shows examples
        bank: Bank | None = None
        for number in numbers:
            pooled = self.pooled(model, number).only(labels)
            if bool((pooled.patches >= LEAST_PATCHES).any()):
                bank = model.taught.or_empty(pooled.vectors.shape[1]) if bank is None else bank
                bank = bank.with_image(pooled, names, str(number))
        if bank is None:
            shown = ', '.join(names[label] for label in labels)
            raise UserError(f'no image that examples are drawn from shows enough of {shown}')
        unsaid = {names[label] for label in nameless}
        return replace(bank, has_words=tuple(name not in unsaid for name in bank.names))
