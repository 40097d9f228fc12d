"""Sentences of which some tokens are learned: CoOp's contexts around the names of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.text.causal_tower import CausalTower

Position = Literal['end', 'middle', 'front']
Tokenizer = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, eq=False)
class NameTokens:
    """Names of classes as tokens, and room for contexts.

    Attributes:
        tokens: (C, L) int64: start, n places whose numbers nothing reads, name, full stop, end,
            filling.
        name_lengths: tokens of each bare name, C of them.
        ends: position (C,) of the end in each sentence.
        count: n, how many contexts there are.
    """

    tokens: Tensor
    name_lengths: tuple[int, ...]
    ends: Tensor
    count: int


def tokenize_for_contexts(
    names: Sequence[str], count: int, tower: CausalTower, tokenizer: Tokenizer
) -> NameTokens:
    """Tokens of names with room for contexts.

    Args:
        names: one a class; underscores count as blanks.
        count: n contexts.
        tower: tells where a sentence ends.
        tokenizer: of the tower; maps sentences to (P, L) int64.

    Raises:
        UserError: a name leaves no room for the contexts.

    Source: CoOp, trainers/coop.py, ``PromptLearner``.
    """
    names = [name.replace('_', ' ') for name in names]
    plain = tokenizer([f'{name}.' for name in names])
    length = plain.shape[1]
    ends = tower.ends(plain) + count
    if int(ends.max()) >= length:
        longest = names[int(ends.argmax())]
        raise UserError(
            f"'{longest}' with {count} learned contexts has {int(ends.max()) + 1} tokens, start "
            f'and end included, but the text model reads {length}: shorten the name'
        )
    places = tokenizer(['X'])[0, 1].expand(len(names), count)
    tokens = torch.cat([plain[:, :1], places, plain[:, 1:]], 1)[:, :length]
    lengths = (tower.ends(tokenizer(names)) - 1).tolist()
    return NameTokens(tokens, tuple(lengths), ends, count)


def embed_with_contexts(
    names: NameTokens, contexts: Tensor, position: Position, tower: CausalTower
) -> Tensor:
    """Sentences as vectors, (C, L, W), without positions.

    Args:
        names: of :func:`tokenize_for_contexts`.
        contexts: (n, W), the same for all classes, or (C, n, W).
        position: where they stand: before the name (``'end'``, as the name then has it), half of
            them on either side of it, or behind it (``'front'``).
        tower: whose token embedding.

    Raises:
        UserError: an unknown position, or contexts for another number of classes.
    """
    if position not in get_args(Position):
        raise UserError(f'position must be one of {list(get_args(Position))}, got {position!r}')
    classes = len(names.tokens)
    if contexts.ndim == 3 and len(contexts) != classes:
        raise UserError(
            f'contexts were learned for {len(contexts)} classes, each its own, and {classes} are '
            'asked for: ask for the classes of the training, or learn shared contexts'
        )
    words = tower.owner.token_embedding(names.tokens).to(contexts.dtype)
    rows = []
    for row, length in enumerate(names.name_lengths):
        own = contexts if contexts.ndim == 2 else contexts[row]
        start, rest = words[row, :1], words[row, 1 + names.count :]
        name, rest = rest[:length], rest[length:]
        before = {'end': names.count, 'middle': names.count // 2, 'front': 0}[position]
        rows.append(torch.cat([start, own[:before], name, own[before:], rest]))
    return torch.stack(rows)


def encode_with_contexts(
    names: NameTokens, contexts: Tensor, position: Position, tower: CausalTower
) -> Tensor:
    """Unit vectors (C, D) of classes behind, around or before learned contexts.

    Args:
        names: see :func:`embed_with_contexts`.
        contexts: likewise.
        position: likewise.
        tower: encodes the sentences.
    """
    embedded = embed_with_contexts(names, contexts, position, tower)
    encoded = tower.encode_embedded(embedded, names.ends.to(embedded.device))
    return torch.nn.functional.normalize(encoded, dim=-1)
