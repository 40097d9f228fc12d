"""Rows of a text tower: how a segmentor with a vision-language model makes its classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovseg.encoders import VisionLanguageModel
from ovseg.encoders.two_towers import TextCache
from ovseg.errors import UserError, nearest, notices_heard
from ovseg.exemplars.bank import EncoderIdentity
from ovseg.exemplars.rules import DEFAULT_RULE
from ovseg.exemplars.taught import Taught
from ovseg.settings import parameters_of
from ovseg.text import Classifier, build_classifier, classifier_from_rows
from ovseg.text.contrast import with_contrast
from ovseg.text.experts import refuse_experts
from ovseg.text.row_files import read_row_file, rows_of_classes
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.descriptions import descriptions_of

# What `build_classifier` is given by the model itself.
_NOT_SETTINGS = ('vocabulary', 'encoder')


class TextRows:
    """A text tower, and the settings under which it reads words.

    Args:
        model: whose text tower.
        settings: arguments of :func:`~ovseg.text.build_classifier`; ``cache_dir`` of the text
            encoder; ``embeddings``, a file of ready rows for the words of the config; ``bank`` and
            ``rule``, see :class:`~ovseg.exemplars.taught.Taught`.
        identity: who makes the features; None for a model that takes no examples.

    Attributes:
        encoder: the text tower.
        settings: arguments of :func:`~ovseg.text.build_classifier`.
        ready: the file of ready rows, or None.
        taught: examples beside the words; None for a model that takes none.
        tokenizer: of the text tower; None where the model does not show it.

    Raises:
        UserError: a bank or a rule for a model that takes no examples.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        settings: Mapping[str, Any] | None,
        identity: Callable[[], EncoderIdentity] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        bank, rule = self.settings.pop('bank', None), self.settings.pop('rule', DEFAULT_RULE)
        self.taught: Taught | None = None
        if identity is not None:
            self.taught = Taught(identity, rule, bank)
        self._has_bank = bank is not None
        if identity is None:
            self.refuse_examples('this method, which names masks')
        self.ready: str | None = self.settings.pop('embeddings', None)
        self.tokenizer = getattr(model, 'tokenizer', None)
        self.encoder = model.text_encoder(self.settings.pop('cache_dir', 'default'))
        self._casted: tuple[str, str] | None = None

    def refuse_examples(self, whom: str) -> None:
        """Has no examples count.

        Args:
            whom: they do not go with.

        Raises:
            UserError: the settings name a bank.
        """
        self.taught = None
        if self._has_bank:
            raise UserError(
                f'model.text.bank does not go with {whom}: examples count where words are compared '
                'with patches alone'
            )

    @property
    def space(self) -> str:
        """Identity of the text space; the same for the same weights in another precision."""
        present = self.encoder.fingerprint
        return self._casted[1] if self._casted and self._casted[0] == present else present

    def stay_in(self, space: str) -> None:
        """Has rows and features of the weights as they are now count as of a space.

        Args:
            space: what :attr:`space` was before the weights took another precision.
        """
        self._casted = (self.encoder.fingerprint, space)

    def classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary.

        Args:
            vocabulary: the classes.
            rows: a file of :mod:`ovseg.text.row_files`, such as ``*_clip_text.pth``, instead of
                the text tower.

        Raises:
            UserError: words that cannot be encoded, or a file that does not fit them.
        """
        words = self._words(vocabulary, rows)
        if self.taught is None:
            return words
        applied = self.taught.applied(words, self.described(vocabulary))
        if applied is not words:
            refuse_experts(words, 'a classifier of words and examples')
        return applied

    def described(self, vocabulary: Vocabulary) -> Vocabulary:
        """The classes with the synonyms and sentences of the descriptions, which have rows, too.

        Args:
            vocabulary: the classes.

        Raises:
            UserError: the file of descriptions is none, or does not go with the classes.
        """
        source = self.settings.get('descriptions')
        if source is None:
            return vocabulary
        with notices_heard():  # which the classifier has told
            return descriptions_of(source, vocabulary).describe(vocabulary)

    def _words(self, vocabulary: Vocabulary, rows: str | None) -> Classifier:
        """The classifier of the words alone."""
        if rows is not None:
            ready = rows_of_classes(read_row_file(rows), vocabulary, self.space)
            return classifier_from_rows(vocabulary, ready, self.encoder.logit_scale, str(rows))
        source = vocabulary.rejection.contrast
        if source:
            templates = self.settings.get('templates', 'openai-80')
            vocabulary = with_contrast(vocabulary, self.encoder, source, templates)
        classifier = build_classifier(vocabulary, self.encoder, **self.settings)
        return replace(classifier, fingerprint=self.space) if self._casted else classifier

    def protocol(self, source: str, rejection: Rejection | None) -> dict[str, Any]:
        """What the words contribute to a number's protocol.

        Args:
            source: where the words come from.
            rejection: of the vocabulary, None without one.
        """
        files = {
            key: str(self.settings[key])
            for key in ('descriptions', 'name_share', 'experts')
            if self.settings.get(key) is not None
        }
        return {
            'vocabulary': source,
            'templates': self.settings.get('templates', 'openai-80'),
            'synonyms': self.settings.get('combine', 'mean'),
            **files,
            'background': 'none' if rejection is None else rejection.describe(),
            **({} if self.taught is None else self.taught.protocol()),
        }


def described(model: Any, vocabulary: Vocabulary) -> Vocabulary:
    """The classes with all that a model has rows of, see :meth:`TextRows.described`.

    Args:
        model: a segmentor of any kind.
        vocabulary: the classes.
    """
    text = getattr(model, 'text', None)
    return text.described(vocabulary) if isinstance(text, TextRows) else vocabulary


def text_cache_of(settings: Mapping[str, Any] | None) -> TextCache:
    """Where a model keeps encodings of sentences.

    Args:
        settings: as :class:`TextRows` takes them.
    """
    return (settings or {}).get('cache_dir', 'default')


def set_text(config: dict[str, Any], told: Mapping[str, Any]) -> None:
    """Puts settings of the user's for words into a model's settings.

    Args:
        config: of the model; changed in place.
        told: arguments of :func:`~ovseg.text.build_classifier`.

    Raises:
        UserError: it takes no such argument.
    """
    known = [name for name in parameters_of(build_classifier)[0] if name not in _NOT_SETTINGS]
    for name in told:
        if name not in known:
            raise UserError(
                f'unknown setting {name!r} of text, use {", ".join(known)}.' + nearest(name, known)
            )
    # Lists, and paths as text, as a config file has them.
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in plain.items()}
    config['text'] = {**(config.get('text') or {}), **plain}


def randomise_parts(settings: dict[str, Any]) -> None:
    """Random weights for every network of a model: what has weights is named by ``model``.

    Args:
        settings: of the model; changed in place.
    """
    if 'model' in settings:
        settings['pretrained'] = 'random'
    settings.pop('adapted', None)  # fits no other weights
    settings.pop('vision', None)  # nor does a vision tower of a file
    settings.pop('init_cfg', None)  # a file that a training would begin with
    for part in settings.values():
        if isinstance(part, dict):
            randomise_parts(part)


def place_clip(config: dict[str, Any], checkpoint: str | Path) -> None:
    """Has a model's vision-language model load a file, or what a tag names.

    Args:
        config: of the model; changed in place.
        checkpoint: the file or tag.
    """
    config['clip']['pretrained'] = str(checkpoint)
