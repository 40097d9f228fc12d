"""What a segmenter is asked for: words become a vocabulary with its rejection, and a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovseg.apis.classifiers import KeptClassifiers
from ovseg.apis.contrast_words import ContrastWords
from ovseg.apis.one_class import beside_one_class, usual_background
from ovseg.apis.tasks import no_words
from ovseg.errors import notify
from ovseg.scenes.small_world import SmallWorld, prompts_of
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.fitted_rules import check_fit
from ovseg.text import Classifier
from ovseg.text.fingerprint import weights_written
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary
from ovseg.vocabulary.word_lists import plain_separators

_CLASSIFIERS_KEPT = 16


class Questions:
    """Reads words for a model, and keeps the classifiers of those that were asked for last.

    Args:
        model: that is asked.
        world: what a model of a small world knows; None for others.
        background: words for "none of these", for questions that give none.
        contrast: as :class:`~ovseg.apis.contrast_words.ContrastWords` takes it.
        rejection: for words that state no rule of their own; None for none.

    Attributes:
        vocabulary: of questions without words; None where these are an error.
        given: the settings of all questions by name, those that were given alone.
        contrast: the contrast words beside what is asked for.
        classifiers: made for vocabularies.

    Raises:
        UserError: the model takes no contrast words.
    """

    def __init__(
        self,
        model: Segmentor,
        world: SmallWorld | None,
        background: str | Sequence[str] | None,
        contrast: str | Path | None,
        rejection: Rejection | None,
    ) -> None:
        self._model, self._world = model, world
        self._background, self._rejection = background, rejection
        settings = {'background': background, 'rejection': rejection, 'contrast': contrast}
        self.given = {name: value for name, value in settings.items() if value is not None}
        self.vocabulary: Vocabulary | None = model.vocabulary
        self.contrast = ContrastWords(model, contrast, world)
        self.classifiers = KeptClassifiers(self._make_classifier, _CLASSIFIERS_KEPT)

    def read(
        self, words: Any, background: str | Sequence[str] | None, threshold: float | None
    ) -> Vocabulary:
        """The classes that words mean, with all that stands beside them.

        Args:
            words: in any form that a vocabulary takes; None for :attr:`vocabulary`.
            background: words for "none of these"; None for those given at the start.
            threshold: of the rejection; None for that of its rule.

        Raises:
            UserError: no words, or words that cannot be read.
        """
        background = self._background if background is None else background
        vocabulary = self.vocabulary if words is None else build_vocabulary(words)
        if vocabulary is None:
            raise no_words()
        if self._rejection is not None and (words is None or not vocabulary.has_own_rule):
            vocabulary = vocabulary.with_rejection(self._rejection)
        vocabulary = _with_rejection(vocabulary, background, threshold, self._rejection)
        vocabulary = self.contrast.beside(vocabulary)
        if words is not None:  # a config's one class may be meant as it is
            vocabulary = beside_one_class(vocabulary, self._other_words(vocabulary))
        doubt = None if self._world is None else self._world.doubt_of_words(vocabulary)
        if doubt is not None:
            notify(doubt)
        return vocabulary

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """The classifier of a vocabulary, on the model's device; encoded if it is new.

        Args:
            vocabulary: of :meth:`read`.

        Raises:
            UserError: words that the model does not know.
        """
        taught = self._model.taught
        mark = None if taught is None else taught.mark
        return self.classifiers.get(vocabulary, (weights_written(self._model), mark))

    def _make_classifier(self, vocabulary: Vocabulary) -> Classifier:
        with plain_torch():
            rows = self._model.words.rows_of(vocabulary)
            build = self._model.build_classifier
            made = build(vocabulary) if rows is None else build(vocabulary, rows)
            check_fit(self._model, vocabulary, made)
            return made.to(self._model.device)

    def _other_words(self, vocabulary: Vocabulary) -> list[str] | None:
        """Words for all that is not asked for; None where the model takes no words."""
        if not self._model.takes_templates:
            return None
        prompts = prompts_of(vocabulary)
        return (
            usual_background(prompts) if self._world is None else self._world.other_words(prompts)
        )


def _with_rejection(
    vocabulary: Vocabulary,
    background: str | Sequence[str] | None,
    threshold: float | None,
    further: Rejection | None = None,
) -> Vocabulary:
    """The vocabulary with the caller's background words and threshold laid over its own rule.

    Words replace the vocabulary's rule, but not the caller's own, `further`.
    """
    rule = vocabulary.rejection
    if background is not None:
        text = background if isinstance(background, str) else ';'.join(background)
        text = plain_separators(text)
        words = tuple(word.strip() for word in text.replace(';', ',').split(',') if word.strip())
        rule = Rejection('background', threshold or 0.0, words)
        if further is not None and further.kind not in ('none', 'class_zero'):
            limit = further.threshold if threshold is None else threshold
            rule = replace(further, kind='background', words=words, threshold=limit)
    elif threshold is not None and rule.kind == 'none':
        rule = Rejection('threshold', threshold)
    elif threshold is not None:
        rule = replace(rule, threshold=threshold)
    return vocabulary if rule == vocabulary.rejection else vocabulary.with_rejection(rule)
