"""Words of a segmentor: a vocabulary that may change at any time, and its classifier by CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ovseg.encoders import LoadedCLIP
from ovseg.encoders.maskclip_format import read_text_embeddings
from ovseg.errors import UserError
from ovseg.text import Classifier, TextEncoder, build_classifier, classifier_from_rows
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary


class OpenVocabulary:
    """Mixin for segmentors with a frozen CLIP, ``self.clip``.

    Attributes:
        vocabulary: the present classes, or None.
        vocabulary_source: where they come from, in words.
        text_settings: arguments of :func:`~ovseg.text.build_classifier`.
        text_encoder: CLIP's text tower.
        words_wait: whether words are encoded when they are first asked for, instead of at once:
            CLIP's weights are still to come.
    """

    words_wait = False

    def init_words(
        self, loaded: LoadedCLIP, vocabulary: Any, text: Mapping[str, Any] | None
    ) -> None:
        """Makes the text encoder and the classifier; to be called once ``self.clip`` is there.

        Args:
            loaded: the CLIP.
            vocabulary: anything :func:`~ovseg.vocabulary.build_vocabulary` takes, or None.
            text: see :class:`~ovseg.segmentors.TrainingFreeSegmentor`.

        Raises:
            UserError: the words cannot be read.
        """
        self.text_settings = dict(text or {})
        embeddings = self.text_settings.pop('embeddings', None)
        self.text_encoder = TextEncoder(
            self.clip,
            loaded.tokenizer,
            cache_dir=self.text_settings.pop('cache_dir', 'default'),
            name=loaded.name,
        )
        self.vocabulary: Vocabulary | None = None
        self._classifier: Classifier | None = None
        self._rows: str | None = None
        self.vocabulary_source: str = 'none'
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, rows=embeddings)

    def set_vocabulary(
        self, source: Any, rejection: Rejection | None = None, rows: str | None = None
    ) -> None:
        """Changes the classes; takes effect with the next prediction.

        Args:
            source: anything :func:`~ovseg.vocabulary.build_vocabulary` takes.
            rejection: replaces the source's rejection rule.
            rows: a ``*_clip_text.pth`` file with one row a class, instead of the text tower.

        Raises:
            ValueError: the words cannot be read; the old vocabulary stays.

        Where ``words_wait``, words that CLIP cannot read are found at the first prediction.
        """
        vocabulary = build_vocabulary(source)
        if rejection is not None:
            vocabulary = vocabulary.with_rejection(rejection)
        waits = self.words_wait and rows is None
        classifier = None if waits else self.build_classifier(vocabulary, rows)
        self.vocabulary, self._classifier, self._rows = vocabulary, classifier, rows
        self.vocabulary_source = (
            f'{source["dataset"]}/{source["protocol"]}'
            if isinstance(source, Mapping) and 'protocol' in source
            else f'{len(vocabulary)} classes given by the user'
        )

    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """Returns the classifier of a vocabulary under this method's text settings.

        Args:
            vocabulary: the classes.
            rows: see :meth:`set_vocabulary`.
        """
        if rows is not None:
            return classifier_from_rows(
                vocabulary, read_text_embeddings(rows), self.text_encoder.logit_scale, str(rows)
            )
        return build_classifier(vocabulary, self.text_encoder, **self.text_settings)

    @property
    def classifier(self) -> Classifier:
        """The classifier of the present vocabulary, on the model's device.

        Raises:
            UserError: no vocabulary was set.
        """
        if self.vocabulary is None:
            raise UserError(
                'the model has no vocabulary; set model.vocabulary in the config or call '
                'set_vocabulary("cat; sofa")'
            )
        # What is kept from a prediction must also serve a loss, which inference tensors cannot.
        with torch.inference_mode(False):
            if self._classifier is None:
                self._classifier = self.build_classifier(self.vocabulary, self._rows)
            self._classifier = self._classifier.to(self.device)
        return self._classifier

    def forget_rows(self) -> None:
        """Has the words encoded anew when they are next asked for: CLIP has other weights now."""
        self._classifier = None

    @property
    def device(self) -> torch.device:
        """Where the encoder's parameters are."""
        return next(self.clip.parameters()).device

    @property
    def num_classes(self) -> int:
        """K, the number of classes of the present vocabulary, background included."""
        return 0 if self.vocabulary is None else len(self.vocabulary)

    out_channels = num_classes

    def words_protocol(self) -> dict[str, Any]:
        """What the words contribute to a number's protocol."""
        return {
            'vocabulary': self.vocabulary_source,
            'templates': self.text_settings.get('templates', 'openai-80'),
            'synonyms': self.text_settings.get('combine', 'mean'),
            'background': 'none'
            if self.vocabulary is None
            else self.vocabulary.rejection.describe(),
        }
