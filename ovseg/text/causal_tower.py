"""Causal text towers without waste: nothing behind a sentence's end, no common beginning twice.

In a causal tower no token sees a later one. So what stands behind the token that is read changes
nothing, and sentences that begin alike have their beginning's tokens in common: templates around
one word, and even more one template around many words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from open_clip import CLIP, CoCa, CustomTextCLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, Transformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.last_block import finish_block

# Sentences of one batch are padded to its longest in the attention, so these are not mixed.
_LENGTHS = (8, 12, 16, 24, 32, 48)


@dataclass(frozen=True)
class _Beginnings:
    """The different beginnings of S sentences, each a node of a tree that starts at their start.

    Attributes:
        tokens: last token of each beginning (N,), int64.
        depths: its position (N,), int64.
        paths: the beginnings that each sentence goes through (S, L), int64; 0 behind its end.
        shown_at: an entry of the flattened ``paths`` where each beginning stands (N,), int64.
        whole: the beginning that is the whole sentence (S,), int64.
    """

    tokens: Tensor
    depths: Tensor
    paths: Tensor
    shown_at: Tensor
    whole: Tensor


@dataclass(frozen=True)
class CausalTower:
    """The parts of an open_clip text tower that is causal and reads one token of a sentence.

    Attributes:
        owner: open_clip's ``CLIP`` or ``TextTransformer``; holds the weights, is never changed.
        pooling: which token is read: ``'argmax'`` (the largest number), ``'eos'``, ``'first'``.
        eos: the number of the token that ``'eos'`` reads; -1 for other poolings without one.
    """

    owner: CLIP | TextTransformer
    pooling: str
    eos: int

    def ends(self, tokens: Tensor) -> Tensor:
        """Position (S,) of the token of each sentence that is read.

        Args:
            tokens: (S, context length), int64.
        """
        if self.pooling == 'first':
            return tokens.new_zeros(len(tokens))
        if self.pooling == 'eos':
            return torch.eq(tokens, self.eos).int().argmax(dim=1)
        return tokens.argmax(dim=1)

    def order(self, tokens: Tensor) -> list[int]:
        """An order of sentences in which neighbours are of like length and begin alike.

        Args:
            tokens: (S, context length), int64.
        """
        kinds = np.searchsorted(_LENGTHS, self.ends(tokens).numpy() + 1)
        rows = tokens.tolist()
        return sorted(range(len(rows)), key=lambda index: (kinds[index], rows[index]))

    def encode(self, tokens: Tensor) -> Tensor:
        """What ``encode_text(tokens, normalize=False)`` gives, (S, D), but for rounding.

        Args:
            tokens: (S, context length), int64, on the tower's device.
        """
        owner = self.owner
        tree = _beginnings(tokens, self.ends(tokens))
        dtype = owner.transformer.get_cast_dtype()
        positions = owner.positional_embedding[tree.depths].to(dtype)
        features = owner.token_embedding(tree.tokens).to(dtype) + positions
        *blocks, last = owner.transformer.resblocks
        for block in blocks:
            features = finish_block(block, _attend(block, features, tree), features, ffn=True)[0]
        mixed = _attend(last, features, tree)[tree.whole]
        return self._projected(finish_block(last, mixed, features[tree.whole], ffn=True)[0])

    def encode_embedded(self, embedded: Tensor, ends: Tensor) -> Tensor:
        """Encodes sentences whose tokens are vectors already, some of them learned, (S, D).

        Args:
            embedded: (S, L, W), without positions.
            ends: position (S,) of the token of each sentence that is read.
        """
        owner, length = self.owner, int(ends.max()) + 1
        features = embedded[:, :length] + owner.positional_embedding[:length]
        features = owner.transformer(features, attn_mask=owner.attn_mask[:length, :length])
        return self._projected(features[torch.arange(len(ends), device=ends.device), ends])

    def _projected(self, read: Tensor) -> Tensor:
        """Tokens (S, W) that are read, in the text space (S, D)."""
        pooled, projection = self.owner.ln_final(read), self.owner.text_projection
        if projection is None:
            return pooled
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection


def find_causal_tower(clip: Any) -> CausalTower | None:
    """The text tower of an open_clip model, or None where it must be run as it is.

    That is: a tower that is not causal (SigLIP's) or that reads the last token or all of them,
    another package's, one with other blocks, one whose methods or modules somebody replaced.

    Args:
        clip: anything with ``encode_text``. If its text tower waits in a file, it is loaded.
    """
    waiting = getattr(clip, 'waiting_text', None)
    if waiting is not None:
        clip = waiting.tower(clip.logit_scale)
    encode_text = getattr(clip.encode_text, '__func__', None)
    if encode_text is CLIP.encode_text:
        pooling, eos = clip.text_pool_type, getattr(clip, 'text_eos_id', None)
        owner = clip
    elif encode_text in (CustomTextCLIP.encode_text, CoCa.encode_text):
        owner = clip.text
        if type(owner) is not TextTransformer or owner.cls_emb is not None:
            return None  # CoCa's class token stands behind the sentence and sees all of it
        pooling, eos = owner.pool_type, owner.eos_id
    else:
        return None
    reads_one_token = pooling in ('argmax', 'first') or (pooling == 'eos' and eos is not None)
    if not reads_one_token or not _is_causal(owner.attn_mask) or not _is_plain(owner):
        return None
    return CausalTower(owner, pooling, -1 if eos is None else eos)


def _is_causal(mask: Tensor | None) -> bool:
    """Whether an additive mask lets each token see itself and all before it, and no other."""
    if mask is None:
        return False
    before = torch.ones_like(mask, dtype=torch.bool).tril()
    return bool(((mask == 0) == before).all() and (mask[~before] == float('-inf')).all())


def _is_plain(owner: CLIP | TextTransformer) -> bool:
    """Whether the tower computes what its parts say: no other classes, no hooks on the way."""
    if type(owner.transformer) is not Transformer or not len(owner.transformer.resblocks):
        return False
    for block in owner.transformer.resblocks:
        attention = block.attn
        if (
            type(block) is not ResidualAttentionBlock
            or type(attention) is not nn.MultiheadAttention
        ):
            return False
        if attention.in_proj_weight is None or attention.bias_k is not None:
            return False
        if attention.add_zero_attn:
            return False
    skipped = [owner.transformer, *owner.transformer.resblocks]
    skipped += [block.attn for block in owner.transformer.resblocks]
    skipped += [owner] if isinstance(owner, TextTransformer) else []
    return not any(
        module._forward_hooks or module._forward_pre_hooks or 'forward' in vars(module)
        for module in skipped
    )


def _beginnings(tokens: Tensor, ends: Tensor) -> _Beginnings:
    """The tree of S sentences' beginnings.

    Args:
        tokens: (S, context length).
        ends: position (S,) at which each sentence ends.
    """
    sentences, length = len(tokens), int(ends.max()) + 1
    paths = tokens.new_zeros(sentences, length)
    numbers, depths, shown_at = [], [], []
    count = 0
    for depth in range(length):
        alive = (ends >= depth).nonzero()[:, 0]
        before = paths[alive, depth - 1] if depth else torch.zeros_like(alive)
        # One row a beginning: which it prolongs, and by which token.
        pairs = torch.stack([before, tokens[alive, depth]], dim=1)
        found, of_sentence = pairs.unique(dim=0, return_inverse=True)
        paths[alive, depth] = count + of_sentence
        first = torch.full_like(found[:, 0], sentences)
        first = first.scatter_reduce(0, of_sentence, alive, 'amin')
        numbers.append(found[:, 1])
        depths.append(torch.full_like(first, depth))
        shown_at.append(first * length + depth)
        count += len(found)
    whole = paths.gather(1, ends[:, None])[:, 0]
    return _Beginnings(torch.cat(numbers), torch.cat(depths), paths, torch.cat(shown_at), whole)


def _attend(block: ResidualAttentionBlock, features: Tensor, tree: _Beginnings) -> Tensor:
    """What a block's attention mixes for each beginning (N, W), heads side by side.

    Only here the sentences are laid out one by one: the rest of a block sees single tokens.
    """
    attention = block.attn
    projected = F.linear(block.ln_1(features), attention.in_proj_weight, attention.in_proj_bias)
    heads = projected[tree.paths].unflatten(-1, (3, attention.num_heads, -1))
    query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))
    # Behind a sentence's end stands its start again; what it becomes there is not looked at.
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)[tree.shown_at]
