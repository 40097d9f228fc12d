"""Learns the rows themselves, from the text on; and adapters of features or of sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.text.classifier import Classifier
from ovseg.training.learners.feature_adapter import FeatureAdapter, SentenceAdapter
from ovseg.training.learners.learner import Learner, Teachings
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import VocabularyClass
from ovseg.vocabulary.templates import fill_template, get_templates


class RowLearner(Learner):
    """Rows and biases that start as the text's and are held back to it.

    Classes that no image shows keep their rows, and take part in the softmax.

    Args:
        teachings: see :class:`Learner`.
        hold: weight of ``|rows - start|^2 / 2``; infinite, the rows stay zero-shot. It is a
            proximal step behind each step of the optimizer, exact for any weight, as weight decay
            of AdamW is one towards 0.

    Raises:
        UserError: a negative weight.
    """

    is_open = False
    absent_join = True
    start: Tensor
    class_of_row: Tensor

    def __init__(self, teachings: Teachings, hold: float = 0.1) -> None:
        super().__init__(teachings)
        if not hold >= 0:
            raise UserError(f'model.learner.hold is a number from 0, got {hold}')
        self.hold = hold
        zero_shot = teachings.zero_shot(teachings.vocabulary)
        self.register_buffer('start', zero_shot.weight.clone(), persistent=False)
        self.register_buffer('class_of_row', zero_shot.class_index, persistent=False)
        self.weight = nn.Parameter(zero_shot.weight.clone())
        self.bias = nn.Parameter(torch.zeros(len(zero_shot.weight)))
        self._absent: Tensor | None = None

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """See :class:`Learner`."""
        zero_shot = self.teachings.zero_shot(self.teachings.vocabulary).to(self.weight.device)
        chosen, index = [], []
        for label, trained in self.trained_labels(vocabulary):
            rows = (self.class_of_row == trained).nonzero()[:, 0]
            chosen.append(rows)
            index += [label] * len(rows)
        kept = torch.cat(chosen)
        return replace(
            zero_shot,
            weight=self.weight[kept],
            bias=self.bias[kept],
            class_index=torch.tensor(index, device=kept.device),
            num_classes=len(vocabulary),
            row_weight=zero_shot.row_weight[kept],
            origin=('learned',) * len(kept),
            rejection=vocabulary.rejection,
            background_index=vocabulary.background_index,
        )

    def see(self, present: Tensor) -> None:
        """See :class:`Learner`."""
        self._absent = ~present.to(self.class_of_row.device)[self.class_of_row]

    @torch.no_grad()
    def pull(self, rate: float) -> None:
        """See :class:`Learner`."""
        share = 0.0 if math.isinf(self.hold) else 1 / (1 + rate * self.hold)
        self.weight.copy_(self.start + (self.weight - self.start) * share)
        self.bias.mul_(share)
        if self._absent is not None:
            self.weight[self._absent] = self.start[self._absent]
            self.bias[self._absent] = 0.0


class FeatureLearner(Learner):
    """CLIP-Adapter behind the frozen encoder: all words stay open.

    Args:
        teachings: see :class:`Learner`.
        reduction: see :class:`FeatureAdapter`.
        share: likewise.
    """

    def __init__(self, teachings: Teachings, reduction: int = 4, share: float = 0.2) -> None:
        super().__init__(teachings)
        self.adapter = FeatureAdapter(teachings.channels, reduction, share)

    def moved(self, features: Tensor) -> Tensor:
        """See :class:`Learner`."""
        return self.adapter.on_map(features)


class SentenceLearner(Learner):
    """VDT-Adapter over the sentences of each class: its descriptions, or its words in templates.

    Args:
        teachings: see :class:`Learner`.
        reduction: see :class:`SentenceAdapter`.
        share: likewise.
        dropout: likewise.
    """

    def __init__(
        self, teachings: Teachings, reduction: int = 4, share: float = 0.2, dropout: float = 0.5
    ) -> None:
        super().__init__(teachings)
        self.adapter = SentenceAdapter(teachings.channels, reduction, share, dropout)
        object.__setattr__(self, '_encoded', {})

    _encoded: dict[tuple[str, ...], Tensor]

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """See :class:`Learner`."""
        zero_shot = self.teachings.zero_shot(vocabulary)
        device = self.adapter.attn.fc.weight.device
        labels = [label for label, item in enumerate(vocabulary) if self._sentences(item)]
        rows = [self.adapter.rows(self._raw(vocabulary[label], device)) for label in labels]
        return Classifier(
            weight=torch.cat(rows),
            class_index=torch.tensor(labels, device=device),
            num_classes=len(vocabulary),
            logit_scale=zero_shot.logit_scale,
            origin=('learned',) * len(labels),
            rejection=vocabulary.rejection,
            background_index=vocabulary.background_index,
            fingerprint=zero_shot.fingerprint,
        )

    def _sentences(self, item: VocabularyClass) -> tuple[str, ...]:
        descriptions, prompts = item.descriptions, item.prompts
        if descriptions:
            return tuple(descriptions)
        templates = get_templates(self.teachings.settings.get('templates', 'openai-80'))
        return tuple(fill_template(template, word) for word in prompts for template in templates)

    def _raw(self, item: VocabularyClass, device: torch.device) -> Tensor:
        """Raw encodings (1, S, D) of a class's sentences, encoded once."""
        sentences = self._sentences(item)
        if sentences not in self._encoded:
            self._encoded[sentences] = self.teachings.encoder.encode(sentences)[None]
        return self._encoded[sentences].to(device)
