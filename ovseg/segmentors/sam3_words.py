"""Phrases of a vocabulary as SAM 3 is asked for them: one a synonym, no templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from ovseg.encoders.sam3_concepts import ConceptModel, Phrases
from ovseg.encoders.sam3_context import ContextSettings, hypernym_tokens, neighbour_tokens
from ovseg.errors import UserError, notify
from ovseg.segmentors.text_rows import TextRows
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.canonical_words import canonical_words

# From here on every image takes long enough to say so.
_MANY = 1000
KEY_BYTES = 16


@dataclass(frozen=True, eq=False)
class PhraseClassifier(Classifier):
    """A classifier whose rows are phrases of tokens.

    Attributes:
        phrases: P words as they are asked.
        bare: their tokens.
        asked: the same with context tokens, where a method has any.
        keys: of each phrase, what its answers in an image are known by.
        vocabulary: the classes.
    """

    phrases: tuple[str, ...] = field(kw_only=True)
    bare: Phrases = field(kw_only=True)
    asked: Phrases = field(kw_only=True)
    keys: tuple[bytes, ...] = field(kw_only=True)
    vocabulary: Vocabulary = field(kw_only=True)

    def to(self, device: torch.device | str) -> PhraseClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        return replace(super().to(device), bare=self.bare.to(device), asked=self.asked.to(device))


class PhraseRows(TextRows):
    """SAM 3's text tower, and how a vocabulary becomes phrases.

    Args:
        model: whose tower.
        settings: ``cache_dir`` of the phrases on disk.
        context: of a method with context tokens, or None.
        canonical: whether words of the table of
            :mod:`~ovseg.vocabulary.canonical_words` are replaced.
        prompts: tokens of ready prompts by class name, see
            :class:`~ovseg.segmentors.sam3_bank.PromptBank`, or None.

    Raises:
        UserError: an unknown setting.
    """

    def __init__(
        self,
        model: ConceptModel,
        settings: Mapping[str, Any] | None = None,
        context: ContextSettings | None = None,
        canonical: bool = False,
        prompts: Mapping[str, Phrases] | None = None,
    ) -> None:
        unknown = set(settings or {}) - {'cache_dir'}
        if unknown:
            raise UserError(
                f'model.text.{min(unknown)} has no meaning for SAM 3, which is asked for words as '
                'they are: leave model.text at cache_dir'
            )
        super().__init__(model, settings)  # type: ignore[arg-type]  # its text_encoder is all it needs
        self._model, self.context, self.canonical = model, context, canonical
        self.prompts = prompts or {}

    @override
    def classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> PhraseClassifier:
        if rows is not None:
            raise UserError('SAM 3 has no rows of a file: its phrases are tokens; leave out rows')
        if vocabulary.rejection.energy is not None:
            raise UserError(
                "SAM 3's scores are absolute and have no energy: reject by a threshold, a margin "
                'or words'
            )
        words, index = self._phrases(vocabulary)
        phrases = self.encode(words)
        for row, (word, label) in enumerate(zip(words, index, strict=True)):
            ready = self.prompts.get(vocabulary.names[label])
            if ready is not None and word == words[index.index(label)]:
                phrases.tokens[row], phrases.mask[row] = ready.tokens[0], ready.mask[0]
        asked = self._with_context(words, phrases)
        mean = phrases.tokens.sum(1) / phrases.mask.sum(1, keepdim=True)
        return PhraseClassifier(
            weight=F.normalize(mean, dim=1),
            class_index=torch.tensor(index),
            num_classes=len(vocabulary),
            logit_scale=1.0,
            aggregation='max',
            rejection=vocabulary.rejection,
            background_index=vocabulary.background_index,
            fingerprint=self.space,
            phrases=tuple(words),
            bare=phrases,
            asked=asked,
            keys=keys_of(asked),
            vocabulary=vocabulary,
        )

    def encode(self, words: list[str]) -> Phrases:
        """Phrases of words, from the cache where it has them.

        Args:
            words: as they are asked.
        """
        return self._model.tower.phrases(self.encoder.encode(words))

    def _phrases(self, vocabulary: Vocabulary) -> tuple[list[str], list[int]]:
        words, index = [], []
        for label, entry in enumerate(vocabulary):
            # A class with a ready prompt is one phrase, whatever its words.
            prompts = entry.prompts[:1] if entry.name in self.prompts else entry.prompts
            words += [canonical_words(word) if self.canonical else word for word in prompts]
            index += [label] * len(prompts)
        if any(entry.descriptions for entry in vocabulary):
            notify('SAM 3 is asked for words; the descriptions of classes are left out')
        if len(words) > _MANY:
            notify(
                f'SAM 3 is asked for each of {len(words)} phrases by itself, about 0.4 TFLOP and '
                "0.3 MB a phrase and image; model.budget='preselected' asks for what "
                'may be there'
            )
        return words, index

    def _with_context(self, words: list[str], phrases: Phrases) -> Phrases:
        settings = self.context
        if settings is None:
            return phrases
        projection = self._model.tower.projection
        device = next(projection.parameters()).device
        pooled, asked = phrases.pooled.to(device), phrases
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            if settings.neighbours and len(words) > 1:
                tokens = neighbour_tokens(pooled, settings.neighbours, projection).cpu()
                valid = torch.ones(tokens.shape[:2], dtype=torch.bool)
                asked = asked.with_context(tokens, valid)
            found = [settings.hypernyms_of(word) for word in words] if settings.hypernyms else []
            unique = list(dict.fromkeys(word for each in found for word in each))
            if unique:
                rows = dict(zip(unique, self.encode(unique).pooled, strict=True))
                tokens, valid = hypernym_tokens(rows, found, settings.hypernyms, projection, pooled)
                asked = asked.with_context(tokens.cpu(), valid.cpu())
        return asked

    @override
    def protocol(self, source: str, rejection: Rejection | None) -> dict[str, Any]:
        context = self.context
        return {
            'vocabulary': source,
            'words': 'canonical' if self.canonical else 'as given',
            'context': 'none'
            if context is None
            else f'{context.neighbours} neighbours, {context.hypernyms} hypernyms',
            'ready_prompts': len(self.prompts),
            'synonyms': 'max',
            'background': 'none' if rejection is None else rejection.describe(),
        }


def keys_of(phrases: Phrases) -> tuple[bytes, ...]:
    """A key of each phrase by its tokens, context included.

    Args:
        phrases: on the CPU.
    """
    return tuple(
        _key(tokens, mask) for tokens, mask in zip(phrases.tokens, phrases.mask, strict=True)
    )


def _key(tokens: Tensor, mask: Tensor) -> bytes:
    digest = blake2b(tokens.contiguous().numpy().tobytes(), digest_size=KEY_BYTES)
    digest.update(mask.numpy().tobytes())
    return digest.digest()
