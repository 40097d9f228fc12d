"""Preselection by a dense model: a cheap encoder looks once and says which classes may be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.registry import build_part
from ovseg.scores.decide import ClassShares
from ovseg.scores.preselection import KeepRule
from ovseg.scores.row_map import ALL, Channels, DerivedMap, RowMap
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.sam3_words import PhraseClassifier
from ovseg.settings import read_settings
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import folded

_LOOK = 'dense'
# Shares are looked at on a grid of this many pixels.
_GRID = 16
_KEPT = 8


class DensePreselection(nn.Module):
    """A dense model that gives each class a number: how sure its surest patches are of it.

    The number of a class is the mean of the top share of its patch probabilities; of a class with
    several words the best counts, as in the dense model's own rule.

    Args:
        model: config of a segmentor of ovseg's that labels pixels, such as MaskCLIP, without
            vocabulary.
        side: shorter side of the image that it looks at, in pixels.
        share: in (0, 1], of the patches whose mean is taken.
        always: names or words of classes that are always asked; the background is in any case.
        keep: ``threshold``, ``at_least`` and ``at_most``, see
            :class:`~ovseg.scores.preselection.KeepRule`.

    Raises:
        UserError: settings out of range, or another kind of model.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        side: int = 448,
        share: float = 0.01,
        always: Sequence[str] = (),
        **keep: Any,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1 or side < 1:
            raise UserError(f'preselection.share must be above 0 and up to 1, got {share}')
        self.keep = read_settings(KeepRule, keep, 'model.preselection')
        self.side, self.share = side, share
        self.always = (always,) if isinstance(always, str) else tuple(always)
        self.dense: Segmentor = build_part(model)
        if not isinstance(self.dense, Segmentor) or self.dense.reads:
            raise UserError(
                f'model.preselection.model={type(self.dense).__name__} does not label pixels of a '
                'plain image; choose a model such as MaskCLIP'
            )
        self._classifiers: dict[Any, Classifier] = {}

    def __repr__(self) -> str:
        bounds = f'threshold={self.keep.threshold}, {self.keep.at_least} to {self.keep.at_most}'
        return f'DensePreselection({type(self.dense).__name__}, {bounds})'

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """The dense model's classifier of a vocabulary, made once.

        Args:
            vocabulary: the classes.
        """
        key = (tuple(vocabulary), vocabulary.rejection)
        if key not in self._classifiers:
            while len(self._classifiers) >= _KEPT:
                self._classifiers.pop(next(iter(self._classifiers)))
            self._classifiers[key] = self.dense.build_classifier(vocabulary)
        return self._classifiers[key].to(self.dense.device)

    def look(self, looks: dict[str, Any], image: Tensor) -> Any:
        """The dense model's encoding of an image, made once.

        Args:
            looks: what is known of the image.
            image: (3, H, W) uint8 RGB.
        """
        if _LOOK not in looks:
            scale = self.side / min(image.shape[1:])
            size = [max(1, round(length * scale)) for length in image.shape[1:]]
            pixels = F.interpolate(
                image[None].float(), size=size, mode='bilinear', antialias=True, align_corners=False
            )
            own = self.dense.data_preprocessor
            if hasattr(own, 'mean'):
                pixels = (pixels - own.mean) / own.std
            looks[_LOOK] = self.dense.encode(Images(pixels))[0]
        return looks[_LOOK]

    @torch.no_grad()
    def scores(self, looks: dict[str, Any], image: Tensor, vocabulary: Vocabulary) -> Tensor:
        """A number in [0, 1] for each class (K,).

        Args:
            looks: what is known of the image; gets the dense model's encoding.
            image: (3, H, W) uint8 RGB.
            vocabulary: the classes.
        """
        encoding, classifier = self.look(looks, image), self.classifier(vocabulary)
        height, width = encoding.input_size
        grid = (max(1, height // _GRID), max(1, width // _GRID))
        shares = self._shares(encoding, classifier, grid).whole(self.dense.budget).flatten(1)
        count = max(1, round(self.share * shares.shape[1]))
        return shares.topk(count, dim=1).values.mean(1)

    def classes(self, looks: dict[str, Any], image: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Classes (A,), ascending, that SAM 3 is asked for.

        Args:
            looks: see :meth:`scores`.
            image: (3, H, W) uint8 RGB.
            vocabulary: the classes.
        """
        always = set(self._marked(vocabulary))
        if vocabulary.background_index is not None:
            always.add(vocabulary.background_index)
        return self.keep.kept(self.scores(looks, image, vocabulary), always)

    def _marked(self, vocabulary: Vocabulary) -> list[int]:
        wanted = {folded(word) for word in self.always}
        return [
            label
            for label, entry in enumerate(vocabulary)
            if wanted & {folded(word) for word in (entry.name, *entry.prompts)}
        ]

    def row_shares(
        self,
        looks: dict[str, Any],
        image: Tensor,
        asked: PhraseClassifier,
        size: tuple[int, int],
    ) -> RowMap:
        """The dense model's class shares as score maps of phrases, each its class's.

        Args:
            looks: see :meth:`scores`.
            image: (3, H, W) uint8 RGB.
            asked: classifier of the phrases.
            size: (H, W) of the maps in pixels.
        """
        encoding, classifier = self.look(looks, image), self.classifier(asked.vocabulary)
        shares = self._shares(encoding, classifier, (size[0], size[1]))
        return ClassRows(shares, asked.class_index)

    def _shares(self, encoding: Any, classifier: Classifier, size: tuple[int, int]) -> ClassShares:
        maps = self.dense.scores(encoding, classifier, size, MemoryBudget(64.0))
        return ClassShares(maps, self.dense.rule(classifier))


@dataclass(frozen=True, eq=False)
class ClassRows(DerivedMap):
    """Maps of classes, repeated for the rows of each class.

    Attributes:
        class_index: (P,) int64.
    """

    source: RowMap
    class_index: Tensor

    @property
    @override
    def channels(self) -> int:
        return len(self.class_index)

    @property
    @override
    def values_a_row(self) -> float:
        return self.source.values_a_row + self.channels * self.size[1]

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        return self.source.rows(start, stop)[self.class_index[channels]]
