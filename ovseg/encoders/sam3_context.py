"""Tokens beside a phrase's own: its nearest neighbours in the vocabulary, and what it is a kind of.

Source: ActiveSAM (arXiv 2606.16996), contextual prompt expansion; its release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.vocabulary.wordnet import hypernyms_of


@dataclass(frozen=True)
class ContextSettings:
    """How many tokens of each kind a phrase gets.

    Attributes:
        neighbours: of the most similar other phrases; a phrase's map then depends on the whole
            vocabulary.
        hypernyms: of the first sense's hypernyms.
        table: hypernyms by phrase, instead of WordNet's.

    Raises:
        UserError: a negative number.
    """

    neighbours: int = 2
    hypernyms: int = 2
    table: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if min(self.neighbours, self.hypernyms) < 0:
            raise UserError('context.neighbours and context.hypernyms must be at least 0')

    def hypernyms_of(self, phrase: str) -> list[str]:
        """Up to :attr:`hypernyms` words for what a phrase is a kind of.

        Raises:
            UserError: WordNet is asked for and nltk, or its corpus, is missing.
        """
        if self.table is not None:
            return list(self.table.get(phrase, ()))[: self.hypernyms]
        return hypernyms_of(phrase, self.hypernyms, 'set model.context.hypernyms=0')


def neighbour_tokens(pooled: Tensor, count: int, projection: nn.Module) -> Tensor:
    """Tokens (P, M, C) of each phrase's M most similar others.

    Args:
        pooled: (P, T), pooled token embeddings of the phrases.
        count: M; fewer where there are not so many others.
        projection: T -> C, of the text tower; their weights are a softmax of the cosines.
    """
    unit = F.normalize(pooled, dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(float('-inf'))
    best = cosines.topk(min(count, len(pooled) - 1), dim=1)
    weighed = pooled[best.indices] * best.values.softmax(1)[..., None]
    return projection(weighed)


def hypernym_tokens(
    pooled: Mapping[str, Tensor],
    hypernyms: Sequence[Sequence[str]],
    count: int,
    projection: nn.Module,
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Tokens (P, M, C) of each phrase's hypernyms, and which of them there are (P, M).

    Args:
        pooled: (T,) pooled embedding of each hypernym.
        hypernyms: of each phrase.
        count: M.
        projection: T -> C.
        like: (..., T), gives width and device.
    """
    rows = like.new_zeros(len(hypernyms), count, like.shape[-1])
    valid = torch.zeros(rows.shape[:2], dtype=torch.bool, device=rows.device)
    for phrase, words in enumerate(hypernyms):
        for place, word in enumerate(words[:count]):
            rows[phrase, place], valid[phrase, place] = pooled[word].to(rows), True
    return projection(rows), valid
