"""CLIP's text tower over learned contexts: what stands between start and name is trained."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.last_block import finish_block
from ovseg.encoders.clip import ACTIVATIONS, Activation
from ovseg.encoders.clip_initialisation import (
    Pretrained,
    clip_state,
    load_tower,
    text_encoder_state,
)
from ovseg.errors import UserError
from ovseg.registry import MODELS

# Start and end of a sentence.
_ENDS = 2


@MODELS.register_module(name='CLIPTextContextEncoder')
class ContextTextEncoder(TextTransformer):
    """Encodes names behind learned context vectors.

    Args:
        context_length: tokens of a sentence, start, contexts, name and end together.
        vocab_size: of the tokenizer.
        transformer_width: W, of the tokens.
        transformer_heads: of each block.
        transformer_layers: blocks.
        embed_dim: D of the text space.
        pretrained: CLIP to start from, see
            :func:`~ovseg.encoders.clip_initialisation.clip_state`; read by :meth:`init_weights`.
        activation: ``'quick_gelu'`` of OpenAI's models or ``'gelu'``.

    Raises:
        UserError: an unknown activation.

    Source: DenseCLIP (arXiv 2112.01518); the contexts are those of CoOp (arXiv 2109.01134).
    """

    def __init__(
        self,
        context_length: int = 22,
        vocab_size: int = 49408,
        transformer_width: int = 512,
        transformer_heads: int = 8,
        transformer_layers: int = 12,
        embed_dim: int = 1024,
        pretrained: Pretrained | None = None,
        activation: Activation = 'quick_gelu',
    ) -> None:
        if activation not in ACTIVATIONS:
            raise UserError(
                f"text_encoder.activation must be one of {list(ACTIVATIONS)}, got '{activation}'"
            )
        super().__init__(
            context_length=context_length,
            vocab_size=vocab_size,
            width=transformer_width,
            heads=transformer_heads,
            layers=transformer_layers,
            output_dim=embed_dim,
            act_layer=ACTIVATIONS[activation],
        )
        self.pretrained = pretrained

    def init_weights(self) -> None:
        """Loads the text tower that ``pretrained`` names; the position table is cut to length.

        Raises:
            UserError: its weights do not fit.
        """
        if self.pretrained is not None:
            state = text_encoder_state(clip_state(self.pretrained), self.context_length)
            load_tower(self, state, self.pretrained)

    def forward(self, tokens: Tensor, contexts: Tensor) -> Tensor:
        """Encodes K names behind each of B sets of contexts.

        Args:
            tokens: (K, N1) int64: start, name, end, zeros. The end has the largest number.
            contexts: (B, N2, W), with N1 + N2 = ``context_length``.

        Returns:
            (B, K, D), not normalised. All names have start and contexts in common, 9 of the 13
            published positions, and no position sees a later one: these are computed once a set.
        """
        names, sets, first = len(tokens), len(contexts), 1 + contexts.shape[1]
        # Behind the longest name's end there is nothing that any end would see.
        tokens = tokens[:, : int(tokens.argmax(1).max()) + 1]
        words = self.token_embedding(tokens)
        positions = self.positional_embedding
        shared = torch.cat([words[:1, :1].expand(sets, -1, -1), contexts], 1) + positions[:first]
        own = (
            (words[:, 1:] + positions[first : first + tokens.shape[1] - 1])
            .expand(sets, -1, -1, -1)
            .flatten(0, 1)
        )
        for block in self.transformer.resblocks:
            shared, own = _run_block(block, shared, own)
        end = tokens.argmax(1).repeat(sets) - 1
        chosen = own[torch.arange(len(own), device=own.device), end]
        return (self.ln_final(chosen) @ self.text_projection).unflatten(0, (sets, names))


def tokenize_names(names: Sequence[str], context_length: int) -> Tensor:
    """Tokens of bare names, (K, N1) int64: start, name, end, zeros.

    Args:
        names: one a class.
        context_length: N1.

    Raises:
        UserError: a name has more tokens than fit.

    Example:
        >>> tokenize_names(['wall'], 5).tolist()
        [[49406, 2569, 49407, 0, 0]]
    """
    tokenizer = open_clip.SimpleTokenizer()
    for name in names:
        needed = len(tokenizer.encode(name)) + _ENDS
        if needed > context_length:
            raise UserError(
                f"the class '{name}' has {needed} tokens, start and end included, but "
                f'model.context_length is {context_length}: raise it, and '
                'model.text_encoder.context_length with it, or shorten the name'
            )
    return tokenizer(list(names), context_length=context_length)


def _run_block(block: ResidualAttentionBlock, shared: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """A causal block over sentences that begin alike; their beginning is computed once.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        shared: (B, M, W), the beginnings.
        own: (B * K, N, W), how each beginning goes on in K ways.
    """
    heads, ways = block.attn.num_heads, len(own) // len(shared)

    def project(tokens: Tensor) -> tuple[Tensor, ...]:
        flat = F.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias)
        return tuple(part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in flat.chunk(3, -1))

    def finish(mixed: Tensor, tokens: Tensor) -> Tensor:
        return finish_block(block, mixed.transpose(1, 2).flatten(2), tokens, ffn=True)[0]

    query, key, value = project(shared)
    shared = finish(F.scaled_dot_product_attention(query, key, value, is_causal=True), shared)
    before = [part.repeat_interleave(ways, dim=0) for part in (key, value)]
    query, *after = project(own)
    key, value = (torch.cat(parts, dim=2) for parts in zip(before, after, strict=True))
    # A token sees the whole beginning, and of its own way what stands before it.
    length, seen = query.shape[2], key.shape[2]
    mask = torch.ones(length, seen, dtype=torch.bool, device=own.device).tril(seen - length)
    return shared, finish(F.scaled_dot_product_attention(query, key, value, attn_mask=mask), own)
