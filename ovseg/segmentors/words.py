"""The words that a segmentor is asked for, and the classifier that was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from ovseg.errors import UserError
from ovseg.locks import Lock
from ovseg.text import Classifier
from ovseg.text.row_files import worded_classes
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary


class NoWords(UserError, AttributeError):
    """A model without words has no classifier; ``hasattr`` and ``inspect`` hear it, too."""


class MakesClassifiers(Protocol):
    """What words ask of a model."""

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        ...

    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary."""
        ...


class Words:
    """The present vocabulary of a model, which may change at any time.

    Args:
        model: makes classifiers of vocabularies.
        keeps: whether a classifier serves until the words change; False where training changes it.

    Attributes:
        vocabulary: the present classes, or None.
        source: where they come from, in words.
        wait: whether words are encoded when they are first asked for, instead of at once, since
            the weights that encode them are still to come. Words that cannot be encoded are then
            found at the first prediction.
    """

    def __init__(self, model: MakesClassifiers, keeps: bool = True) -> None:
        self._model, self._keeps = model, keeps
        self._classifier: Classifier | None = None
        self._rows: str | None = None
        # Words may change while another thread asks for their classifier.
        self._lock = Lock()
        self.vocabulary: Vocabulary | None = None
        self.source = 'none'
        self.wait = False

    def set(self, source: Any, rejection: Rejection | None = None, rows: str | None = None) -> None:
        """Changes the classes; takes effect with the next prediction.

        Args:
            source: anything :func:`~ovseg.vocabulary.build_vocabulary` takes.
            rejection: replaces the source's rejection rule.
            rows: a file with one ready row a class, for models that take one.

        Raises:
            ValueError: the words cannot be read, or the model cannot take them; the old
                vocabulary stays.
        """
        vocabulary = build_vocabulary(source)
        if vocabulary is not None and rejection is not None:
            vocabulary = vocabulary.with_rejection(rejection)
        classifier = None
        if vocabulary is not None and (rows is not None or not self.wait):
            with plain_torch():
                classifier = self._model.build_classifier(vocabulary, rows)
        with self._lock:
            self.vocabulary, self._rows = vocabulary, rows
            self._classifier = classifier if self._keeps else None
            self.source = _said(source, vocabulary)

    @property
    def classifier(self) -> Classifier:
        """The classifier of the present vocabulary, on the model's device.

        Raises:
            NoWords: no vocabulary was set.
        """
        with self._lock:
            return self._present_classifier()

    def _present_classifier(self) -> Classifier:
        if self.vocabulary is None:
            raise NoWords(
                'the model has no vocabulary; set model.vocabulary in the config or call '
                'set_vocabulary("cat; sofa")'
            )
        if not self._keeps:
            return self._model.build_classifier(self.vocabulary, self._rows).to(self._model.device)
        # What is kept from a prediction must also serve a loss, which inference tensors cannot.
        with plain_torch():
            classifier = self._classifier
            if classifier is None or self._is_of_other_weights(classifier):
                classifier = self._model.build_classifier(self.vocabulary, self._rows)
            self._classifier = classifier.to(self._model.device)
        return self._classifier

    def _is_of_other_weights(self, classifier: Classifier) -> bool:
        """Whether the text tower that made the rows was given other weights since."""
        space = getattr(getattr(self._model, 'text', None), 'space', '')
        return bool(space and classifier.fingerprint) and classifier.fingerprint != space

    def rows_of(self, vocabulary: Vocabulary) -> str | None:
        """The file of ready rows that stands for a vocabulary's words; None for the text tower's.

        Args:
            vocabulary: of a question, about the present classes; whatever rule rejects.
        """
        present = self.vocabulary
        if self._rows is None or present is None:
            return None
        return self._rows if _worded(vocabulary) == _worded(present) else None

    @property
    def rejection(self) -> Rejection | None:
        """The rejection rule of the present vocabulary."""
        return None if self.vocabulary is None else self.vocabulary.rejection

    @property
    def logit_scale(self) -> float | None:
        """Of the classifier, to four digits; None where there is none yet."""
        classifier = self._classifier
        return None if classifier is None else round(classifier.logit_scale, 4)

    def forget(self) -> None:
        """Has the words encoded anew when they are next asked for: the weights have changed."""
        with self._lock:
            self._classifier = None


def _worded(vocabulary: Vocabulary) -> list[tuple[Any, ...]]:
    """What is encoded of a vocabulary."""
    items = [vocabulary[label] for label in worded_classes(vocabulary)]
    return [(item.name, item.prompts, item.descriptions) for item in items]


def _said(source: Any, vocabulary: Vocabulary | None) -> str:
    if vocabulary is None:
        return 'none'
    if isinstance(source, Mapping) and 'protocol' in source:
        return f'{source["dataset"]}/{source["protocol"]}'
    return f'{len(vocabulary)} classes given by the user'
