"""CLIP-Adapter: two layers that move image features a little, in a space that stays the text's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError


class FeatureAdapter(nn.Module):
    """``share * A(x) + (1 - share) * x`` on raw features, A a bottleneck with a ReLU behind it.

    The last ReLU lets A only add to a feature. Weights have the names of the released files,
    ``fc.0.weight`` and ``fc.2.weight``, there behind ``adapter.``.

    Args:
        channels: D.
        reduction: by how much the bottleneck is narrower.
        share: of what is learned.

    Raises:
        UserError: a share outside 0..1.

    Source: CLIP-Adapter (arXiv 2110.04544), clip_adapter.py of the released code.
    """

    def __init__(self, channels: int, reduction: int = 4, share: float = 0.2) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise UserError(f'share of an adapter lies in 0..1, got {share}')
        self.share = share
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., D) of any length, moved; not normalised."""
        return torch.lerp(features, self.fc(features), self.share)

    def on_map(self, features: Tensor) -> Tensor:
        """The same for maps (B, D, h, w): every patch by itself."""
        return self(features.movedim(1, -1)).movedim(-1, 1)


class SentenceAdapter(nn.Module):
    """VDT-Adapter: the sentences of a class look at each other, then their mean is its row.

    One head of attention over a class's sentences; its output, mixed in by a share, goes through a
    layer norm. Weights have the released names, ``attn.w_qs.weight`` and so on, there behind
    ``adapter.``.

    Args:
        channels: D.
        reduction: by how much queries, keys and values are narrower.
        share: of what is learned.
        dropout: share of the attention's output, and of its weights (0.1 in the released code),
            that is dropped in training.

    Source: VDT-Adapter (arXiv 2307.11661), trainers/clip_adapter_gpt.py of the released code.
    """

    def __init__(
        self, channels: int, reduction: int = 4, share: float = 0.2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.attn = _SentenceAttention(channels, channels // reduction, share, dropout)

    def forward(self, sentences: Tensor) -> Tensor:
        """Raw encodings (C, S, D) of S sentences a class, each seen among its own."""
        return self.attn(sentences)

    def rows(self, sentences: Tensor) -> Tensor:
        """Unit vectors (C, D) of classes with S sentences each, from raw encodings (C, S, D)."""
        return F.normalize(self(sentences).mean(dim=1), dim=-1)


class _SentenceAttention(nn.Module):
    def __init__(self, channels: int, width: int, share: float, dropout: float) -> None:
        super().__init__()
        self.share = share
        self.w_qs, self.w_ks, self.w_vs = (nn.Linear(channels, width, bias=False) for _ in range(3))
        self.layer_norm = nn.LayerNorm(channels)
        self.fc = nn.Linear(width, channels)
        self.dropout = nn.Dropout(dropout)
        self.attention_dropout = nn.Dropout(0.1)
        for layer, gain in ((self.w_qs, 1.0), (self.w_ks, 1.0), (self.w_vs, 0.67), (self.fc, 0.67)):
            nn.init.xavier_normal_(layer.weight, gain=gain)

    def forward(self, sentences: Tensor) -> Tensor:
        query, key, value = (layer(sentences) for layer in (self.w_qs, self.w_ks, self.w_vs))
        logits = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5
        mixed = self.attention_dropout(logits.softmax(-1)) @ value
        out = self.dropout(self.fc(mixed))
        return self.layer_norm(2 * torch.lerp(sentences, out, self.share))
