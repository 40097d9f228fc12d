"""A loaded model that is asked for words: labels, segments, and why a pixel has its label."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ovseg.apis.asked import Asked
from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.loaded_model import LoadedModel, OneImage
from ovseg.apis.nearest_words import NearestWords, nearest_words
from ovseg.apis.questions import Questions
from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.apis.tasks import check_segment_task, stuff_labels
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.scores.decide import Decision, rule_of_image
from ovseg.segmentors.text_rows import described
from ovseg.text import Classifier
from ovseg.text.decision_rule import DecisionRule
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Vocabulary


class AnsweringModel(LoadedModel):
    """What :class:`~ovseg.apis.segmenter.OpenVocabSegmenter` answers of one encoded image."""

    _questions: Questions

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The classes of calls that give no words."""
        return self._questions.vocabulary

    def prepare(
        self,
        words: Any = None,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        task: str = 'semantic',
        stuff: Any = None,
    ) -> Vocabulary:
        """Encodes words ahead of the first image, so that what cannot be asked for is said now.

        Args:
            words: as in :meth:`segment`.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.
            task: ``'semantic'`` for :meth:`segment`, or one of :meth:`segments`.
            stuff: as in :meth:`segments`.

        Returns:
            The classes as results will have them, with a background where there is one.

        Raises:
            UserError: no words, or words that cannot be read or that the model does not know; a
                model that cannot do the task.
        """
        if task != 'semantic':
            self._check_segments(task)
        vocabulary, _ = self.question(words, background, threshold)
        stuff_labels(stuff, vocabulary)
        return vocabulary

    def question(
        self,
        words: Any = None,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> tuple[Vocabulary, Classifier]:
        """The classes of words and their classifier, for asking :attr:`model` by oneself.

        Args:
            words: as in :meth:`segment`.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.

        Raises:
            UserError: no words, or words that cannot be read or that the model does not know.
        """
        vocabulary = self._questions.read(words, background, threshold)
        return vocabulary, self._questions.classifier(vocabulary)

    def nearest_words(
        self,
        image: OneImage,
        words: Any = None,
        *,
        at: tuple[int, int],
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> NearestWords:
        """Why a pixel gets its label: the words that compete for it, the nearest first.

        Args:
            image: as in :meth:`segment`, one; an encoded one is asked in no time.
            words: as in :meth:`segment`.
            at: (row, column) of the pixel in the upright image.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.

        Raises:
            UserError: as in :meth:`segment`; a place outside of the image.
            FileNotFoundError: there is no such image.
        """
        vocabulary, classifier = self.question(words, background, threshold)
        answer = self._answer(
            image, lambda encoded: self.explain_pixel(encoded, vocabulary, classifier, at)
        )
        assert isinstance(answer, NearestWords)  # of one image
        return answer

    def explain_pixel(
        self,
        encoded: EncodedImage,
        vocabulary: Vocabulary,
        classifier: Classifier,
        at: tuple[int, int],
    ) -> NearestWords:
        """The answer of :meth:`nearest_words` to a question of :meth:`question`.

        Args:
            encoded: of :meth:`encode`.
            vocabulary: what is asked for.
            classifier: of the vocabulary.
            at: (row, column) of the pixel in the upright image.

        Raises:
            UserError: a place outside of the image.
        """
        row, column = at
        encoded.check_pixel(row, column)
        size = encoded.image.shape[0], encoded.image.shape[1]

        def scored(budget: MemoryBudget) -> tuple[torch.Tensor, DecisionRule]:
            scores = self.model.scores(encoded.encoding, classifier, size, budget)
            rule = rule_of_image(scores, self.model.rule(classifier), budget)
            return scores.rows(row, row + 1)[:, 0, column], rule

        with plain_torch():
            result = self._label(encoded, vocabulary, classifier, False)
            scores, rule = self._memory.in_strips(scored, size, classifier.num_classes)
        label, moves = int(result.labels[row, column]), self.model.moves_pixels
        said = described(self.model, vocabulary)
        return nearest_words(scores, label, at, said, classifier, rule, moves)

    def _labeller(
        self,
        words: Any,
        background: str | Sequence[str] | None,
        threshold: float | None,
        scores: bool,
    ) -> Callable[[EncodedImage], SegmentationResult]:
        """What :meth:`segment` asks each image."""
        vocabulary, classifier = self.question(words, background, threshold)
        return lambda encoded: self._label(encoded, vocabulary, classifier, scores)

    def _label(
        self, encoded: EncodedImage, vocabulary: Vocabulary, classifier: Classifier, scores: bool
    ) -> SegmentationResult:
        size = encoded.image.shape[:2]
        decision: Decision = self._memory.in_strips(
            lambda budget: self.model.segment(
                encoded.encoding,
                size,
                classifier,
                keep_scores=scores,
                measure=True,
                budget=budget,
            ),
            size,
            classifier.num_classes,
            scores,
        )
        kept = decision.scores
        won = self._memory.in_strips(
            lambda budget: self._questions.contrast.won(
                encoded.encoding, vocabulary, classifier, decision.labels, budget
            ),
            size,
            classifier.num_classes,
        )
        return SegmentationResult(
            image=encoded.image,
            labels=decision.labels.cpu().numpy().astype(np.int32),
            names=tuple(vocabulary.names),
            palette=tuple(vocabulary.palette),
            background_index=vocabulary.background_index,
            mean_scores=decision.mean_scores().cpu().numpy(),
            scores=None if kept is None else kept.cpu().numpy(),
            source=encoded.source,
            model=self.name,
            contrast=won,
            asked=Asked(
                self, vocabulary, classifier, encoded.image, encoded.source, weakref.ref(encoded)
            ),
        )

    def _finder(
        self,
        words: Any,
        task: str,
        stuff: Any,
        background: str | Sequence[str] | None,
        settings: SegmentSettings,
    ) -> Callable[[EncodedImage], SegmentsResult]:
        """What :meth:`segments` asks each image."""
        self._check_segments(task)
        vocabulary = self._questions.read(words, background, None)
        of_stuff = stuff_labels(stuff, vocabulary)
        classifier = self._questions.classifier(vocabulary)

        def find(encoded: EncodedImage) -> SegmentsResult:
            size = encoded.image.shape[:2]
            found = self._memory.in_strips(
                lambda budget: self.model.find_segments(
                    encoded.encoding,
                    size,
                    classifier,
                    stuff=of_stuff,
                    settings=settings,
                    budget=budget,
                ),
                size,
                classifier.num_classes,
            )
            found = found.things() if task == 'instance' else found
            return SegmentsResult(
                image=encoded.image,
                ids=found.ids.cpu().numpy(),
                segments=found.segments,
                names=tuple(vocabulary.names),
                palette=tuple(vocabulary.palette),
                task=task,
                stuff=of_stuff,
                background_index=vocabulary.background_index,
                source=encoded.source,
                model=self.name,
            )

        return find

    def _segment_settings(
        self, task: str, score_threshold: float | None, overlap_threshold: float | None
    ) -> SegmentSettings:
        """The model's own rules for segments, with the thresholds that somebody gave."""
        self._check_segments(task)
        asked = {'score_threshold': score_threshold, 'overlap_threshold': overlap_threshold}
        given: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
        return replace(self.model.segment_settings or SegmentSettings(), **given)

    def _check_segments(self, task: str) -> None:
        check_segment_task(task)
        if not self.model.finds_segments:
            raise UserError(
                f'The model {self.name} labels pixels and proposes no masks, so it finds no '
                f'{task} segments: take a model with mask proposals, such as ovseg-tiny, or ask '
                'for labels (--task semantic, or segment(...) in Python).'
            )
