"""Queries of a mask decoder look at the words: masks that follow what is asked for."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class TextGuide(nn.Module):
    """Each layer's queries attend to the text rows and are moved by what they see.

    The rows are a set: they have no position, so their order makes no difference. What moves the
    queries is zero at the start, so a decoder that was trained without the guide begins as it was.

    Args:
        embed_dim: E of the text space.
        channels: C of the queries.
        num_heads: of the attentions; divides C.
        num_layers: of the decoder.

    Source: the idea is that of PMP (arXiv 2412.10292), which published neither code nor weights;
        the form is our own.
    """

    def __init__(self, embed_dim: int, channels: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.Linear(embed_dim, channels), nn.LayerNorm(channels))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(channels, num_heads, batch_first=True) for _ in range(num_layers)
        )
        self.reset()

    def reset(self) -> None:
        """Weights of a start, after which the guide moves nothing."""
        linear = cast('nn.Linear', self.words[0])
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        for attention in self.attentions:
            out = cast('nn.MultiheadAttention', attention).out_proj
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def forward(self, layer: int, queries: Tensor, position: Tensor, rows: Tensor) -> Tensor:
        """Moved queries (B, Q, C).

        Args:
            layer: index.
            queries: (B, Q, C).
            position: likewise, what the decoder adds to queries that ask.
            rows: (P, E) text rows, unit vectors.
        """
        words = self.words(rows).expand(len(queries), -1, -1)
        asked = queries + position
        seen, _ = self.attentions[layer](asked, words, words, need_weights=False)
        return queries + seen
