"""Contrast words of a model's questions, and what they won."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.scenes.small_world import SmallWorld, prompts_of
from ovseg.scores.won_rows import won_pixels
from ovseg.segmentors.base import Segmentor
from ovseg.text import Classifier
from ovseg.text.contrast import with_contrast
from ovseg.text.fingerprint import weights_written
from ovseg.vocabulary import Vocabulary

_KEPT = 16


class ContrastWords:
    """Puts contrast words beside vocabularies.

    Args:
        model: reads the words.
        source: as :func:`~ovseg.text.contrast.with_contrast` takes it; None for no such words.
        world: of the model, whose own words are the lexicon; None for most.

    Raises:
        UserError: the model takes no words beside its own.
    """

    def __init__(
        self, model: Segmentor, source: str | Path | None, world: SmallWorld | None
    ) -> None:
        self._model, self._world = model, world
        self._source = None if source == 'none' else source
        self._kept: dict[Any, Vocabulary] = {}
        if self._source is not None and not model.takes_templates:
            raise _takes_none()

    def beside(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary with contrast words for its background.

        Args:
            vocabulary: what is asked for.

        Raises:
            UserError: the source holds no words.
            FileNotFoundError: the source is no file.
        """
        source = vocabulary.rejection.contrast or self._source
        if source is None:
            return vocabulary
        if not self._model.takes_templates:
            raise _takes_none()
        key = (source, tuple(vocabulary), vocabulary.rejection, weights_written(self._model))
        if key not in self._kept:
            text: Any = self._model.text  # of every model that takes templates
            words = None
            if self._world is not None and source == 'auto':
                words = self._world.other_words(prompts_of(vocabulary))
            templates = text.settings.get('templates', 'openai-80')
            found = with_contrast(vocabulary, text.encoder, source, templates, words=words)
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[key] = found
        return self._kept[key]

    def won(
        self,
        encoding: Any,
        vocabulary: Vocabulary,
        classifier: Classifier,
        labels: torch.Tensor,
        budget: MemoryBudget,
    ) -> tuple[tuple[str, int], ...]:
        """The words of the background that won pixels, and how many, most first.

        Args:
            encoding: of the image.
            vocabulary: of :meth:`beside`.
            classifier: of the vocabulary.
            labels: (H, W), what was decided.
            budget: what reading scores may take.
        """
        label = vocabulary.background_index
        if label is None or vocabulary not in self._kept.values():
            return ()
        words = vocabulary[label].prompts
        if int((classifier.class_index == label).sum()) != len(words):
            return ()  # one row for all of them
        size = (labels.shape[0], labels.shape[1])
        scores = self._model.scores(encoding, classifier, size, budget)
        counts = won_pixels(scores, classifier, labels, label, budget).tolist()
        found = [pair for pair in zip(words, counts, strict=True) if pair[1]]
        return tuple(sorted(found, key=lambda pair: -pair[1]))


def _takes_none() -> UserError:
    return UserError(
        'The model was trained with its own words: it takes no contrast words beside them.'
    )
