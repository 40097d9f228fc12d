"""CLIP's text tower over learned contexts: what stands between start and name is trained."""

from __future__ import annotations

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor

from ovseg.backbones.clip import ACTIVATIONS, Activation
from ovseg.backbones.clip_initialisation import (
    Pretrained,
    clip_state,
    load_tower,
    text_encoder_state,
)
from ovseg.errors import UserError
from ovseg.registry import MODELS


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
            :func:`~ovseg.backbones.clip_initialisation.clip_state`; read by :meth:`init_weights`.
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
            (B, K, D), not normalised.
        """
        names, sets = len(tokens), len(contexts)
        words = self.token_embedding(tokens).expand(sets, -1, -1, -1)
        between = contexts[:, None].expand(-1, names, -1, -1)
        sentences = torch.cat([words[:, :, :1], between, words[:, :, 1:]], dim=2).flatten(0, 1)
        hidden = sentences + self.positional_embedding
        for block in self.transformer.resblocks:
            hidden = block(hidden, attn_mask=self.attn_mask)
        end = (tokens.argmax(1) + contexts.shape[1]).repeat(sets)
        chosen = hidden[torch.arange(len(hidden), device=hidden.device), end]
        return (self.ln_final(chosen) @ self.text_projection).unflatten(0, (sets, names))
