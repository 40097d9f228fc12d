"""Learns the words around names: CoOp's contexts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.text.causal_tower import CausalTower, find_causal_tower
from ovseg.text.classifier import Classifier
from ovseg.text.learned_contexts import (
    Position,
    encode_with_contexts,
    tokenize_for_contexts,
)
from ovseg.text.prompts import build_classifier
from ovseg.training.learners.learner import Learner, Teachings
from ovseg.vocabulary import Vocabulary

_STD = 0.02


class ContextLearner(Learner):
    """Context vectors in the place of a template, for all classes or for each its own.

    Args:
        teachings: see :class:`Learner`.
        count: how many contexts; not read with `start`.
        per_class: each prompt of the training has contexts of its own, and no other word can be
            asked then.
        position: ``'end'``, ``'middle'`` or ``'front'``, where names stand is what is meant by
            ``'end'``.
        start: words whose embeddings the contexts start as, such as ``'a photo of a'``; None for
            random ones of standard deviation 0.02.

    Raises:
        UserError: a text model that cannot be given embeddings, or words without tokens.

    Source: CoOp (arXiv 2109.01134).
    """

    def __init__(
        self,
        teachings: Teachings,
        count: int = 4,
        per_class: bool = False,
        position: Position = 'end',
        start: str | None = None,
    ) -> None:
        self.is_open = not per_class
        super().__init__(teachings)
        self.position = position
        first = self._start(start, count)
        if per_class:
            prompts = [prompt for item in teachings.vocabulary for prompt in item.prompts]
            first = first.expand(len(prompts), -1, -1)
        made = first.clone()
        if start is None:
            nn.init.normal_(made, std=_STD)
        self.ctx = nn.Parameter(made)

    @property
    def tower(self) -> CausalTower:
        """The frozen text tower.

        Raises:
            UserError: it is of a kind that takes no embeddings.
        """
        tower = find_causal_tower(self.teachings.clip)
        if tower is None or self.teachings.tokenizer is None:
            raise UserError(
                'contexts are learned in front of a causal text tower of open_clip, which this '
                'model has not: learn an adapter or rows instead'
            )
        return tower

    def _start(self, words: str | None, count: int) -> Tensor:
        tower = self.tower
        width = tower.owner.token_embedding.weight.shape[1]
        if words is None:
            if count < 1:
                raise UserError(f'model.learner.count is a number from 1, got {count}')
            return torch.zeros(count, width)
        tokens = self._tokenize([words])
        inner = tokens[0, 1 : int(tower.ends(tokens)[0])]
        if not len(inner):
            raise UserError(f'model.learner.start {words!r} has no tokens; give a few words')
        return tower.owner.token_embedding(inner).detach().float()

    def _tokenize(self, sentences: Sequence[str]) -> Tensor:
        assert self.teachings.tokenizer is not None  # `tower` checks it
        return self.teachings.tokenizer(list(sentences)).to(self._device)

    @property
    def _device(self) -> torch.device:
        return self.tower.owner.token_embedding.weight.device

    def encode(self, names: Sequence[str]) -> Tensor:
        """Unit vectors (P, D) of names with the contexts around them."""
        tower = self.tower
        contexts: Tensor = self.ctx
        tokens = tokenize_for_contexts(names, contexts.shape[-2], tower, self._tokenize)
        if contexts.ndim == 3:
            own = [prompt for item in self.teachings.vocabulary for prompt in item.prompts]
            contexts = contexts[[own.index(name) for name in names]]
        return encode_with_contexts(tokens, contexts, self.position, tower)

    def classifier(self, vocabulary: Vocabulary) -> Classifier:
        """See :class:`Learner`."""
        if not self.is_open:
            self.check_words(vocabulary)
        settings = {**self.teachings.settings, 'templates': ['{}']}
        return build_classifier(vocabulary, _ContextEncoder(self), **settings)


class _ContextEncoder:
    """A text encoder of bare names, for who combines what it encodes."""

    def __init__(self, learner: ContextLearner) -> None:
        self._learner, self._frozen = learner, learner.teachings.encoder
        self.name, self.fingerprint = self._frozen.name, self._frozen.fingerprint
        self.logit_scale = self._frozen.logit_scale

    def encode(self, prompts: Sequence[str]) -> Tensor:
        return self._learner.encode(prompts)
