"""What every light training learns something for: the classifier, or the features before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.text.classifier import Classifier
from ovseg.text.encoder import SentenceEncoder
from ovseg.text.experts import refuse_experts
from ovseg.text.prompts import build_classifier
from ovseg.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Teachings:
    """What a learner starts from.

    Attributes:
        vocabulary: the classes of the training.
        encoder: the frozen text model.
        settings: how its words are read, arguments of :func:`~ovseg.text.build_classifier`.
        clip: the frozen model, for learners that look into its text tower.
        tokenizer: of the text tower, for the same; None where there is none.
        channels: D of the features.
    """

    vocabulary: Vocabulary
    encoder: SentenceEncoder
    settings: Mapping[str, Any]
    clip: nn.Module
    tokenizer: Callable[[Sequence[str]], Tensor] | None
    channels: int
    _kept: dict[str, Classifier] = field(default_factory=dict)

    def zero_shot(self, vocabulary: Vocabulary) -> Classifier:
        """The classifier of the frozen text model; that of the training is made once."""
        if vocabulary is not self.vocabulary:
            return self._built(vocabulary)
        if 'own' not in self._kept:
            self._kept['own'] = self._built(vocabulary)
        return self._kept['own']

    def _built(self, vocabulary: Vocabulary) -> Classifier:
        made = build_classifier(vocabulary, self.encoder, **self.settings)
        refuse_experts(made, 'a light training')
        return made


class Learner(nn.Module):
    """Learns on frozen features.

    Args:
        teachings: what it starts from.

    Attributes:
        is_open: whether other words than those of the training may be asked.
        absent_join: whether classes that no training image shows take part in the softmax; what
            they answer with is then kept as it is.
    """

    is_open = True
    absent_join = False
    words: Tensor

    def __init__(self, teachings: Teachings) -> None:
        super().__init__()
        # Not a submodule: the frozen model belongs to the segmentor.
        object.__setattr__(self, 'teachings', teachings)
        if not self.is_open:
            self.register_buffer('words', _as_bytes(teachings.vocabulary))

    teachings: Teachings

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """The classifier of words, through which gradients flow to what is learned.

        Args:
            vocabulary: the classes.

        Raises:
            UserError: words that were not in the training, of a learner that is not open.
        """
        return self.teachings.zero_shot(vocabulary)

    def moved(self, features: Tensor) -> Tensor:
        """Features (B, D, h, w) as they are scored."""
        return features

    def see(self, present: Tensor) -> None:
        """Told which classes (K,) of the training any image shows, before it begins."""

    def pull(self, rate: float) -> None:
        """Called behind each step of the optimizer, whose learning rate is given."""

    def check_words(self, vocabulary: Vocabulary) -> None:
        """Raise unless all classes that have words are of the training; any order will do."""
        own = _prompts(self.teachings.vocabulary)
        foreign = next(
            (words for words in _prompts(vocabulary) if words and words not in own), None
        )
        if foreign is not None:
            names = '; '.join(item.name for item in self.teachings.vocabulary)
            raise UserError(
                f'{type(self).__name__} learned {len(own)} classes ({names}), each by itself, and '
                f"is asked for '{', '.join(foreign)}': ask for these classes, or train what keeps "
                'the vocabulary open (shared contexts, an adapter)'
            )

    def trained_labels(self, vocabulary: Vocabulary) -> list[tuple[int, int]]:
        """For each class that has words, its label and that of the same words in the training.

        Raises:
            UserError: other words.
        """
        self.check_words(vocabulary)
        own = _prompts(self.teachings.vocabulary)
        return [(n, own.index(words)) for n, words in enumerate(_prompts(vocabulary)) if words]

    def check_state(self, state: Mapping[str, Tensor]) -> None:
        """Raise if a checkpoint is of other classes.

        Args:
            state: of the learner, by its own names.
        """
        if (
            self.is_open
            or 'words' not in state
            or torch.equal(state['words'].cpu(), self.words.cpu())
        ):
            return
        names = [', '.join(words) for words in json.loads(bytes(state['words'].tolist()))]
        raise UserError(
            f'the checkpoint was trained for {len(names)} classes ({"; ".join(names)}), and the '
            f'config asks for {len(self.teachings.vocabulary)} '
            f'({"; ".join(self.teachings.vocabulary.names)}): set model.vocabulary to the classes '
            'of the training'
        )


def _prompts(vocabulary: Vocabulary) -> list[tuple[str, ...]]:
    return [(*item.prompts, *item.descriptions) for item in vocabulary.classes]


def _as_bytes(vocabulary: Vocabulary) -> Tensor:
    text = json.dumps(_prompts(vocabulary), ensure_ascii=False)
    return torch.tensor(list(text.encode()), dtype=torch.uint8)
