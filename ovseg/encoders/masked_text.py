"""TIPSv2's text tower: every token sees every other, the mean of all is the sentence."""

from __future__ import annotations

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn

# Guards the mean of a sentence without tokens.
_TINY = 1e-8
_SLOWEST = 10_000.0


class MaskedMeanTextTower(nn.Module):
    """Token ids (P, L), 0 where a sentence has ended -> embeddings (P, D).

    Its blocks are open_clip's, under the published names. Without a mask the filling would be
    read; it is derived from the ids, so it cannot be forgotten.

    Args:
        vocabulary: pieces that the tokenizer knows.
        width: D, of the tokens and of the embedding: there is no projection.
        layers: transformer blocks.
        heads: of each; must divide the width.
        hidden: width of the MLPs.

    Source: TIPS (arXiv 2410.16512), TIPSv2 (arXiv 2604.12012) and their released code.
    """

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.transformer = Transformer(
            width, layers, heads, mlp_ratio=hidden / width, act_layer=nn.ReLU, batch_first=True
        )
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeds sentences.

        Args:
            tokens: (P, L) int64.

        Returns:
            (P, D), not normalised.
        """
        is_there = tokens != 0
        # Pieces that no sentence of the batch has cost as much as the others.
        length = max(int(is_there.sum(1).max()), 1)
        tokens, is_there = tokens[:, :length], is_there[:, :length]
        width = self.token_embedding.embedding_dim
        embedded = self.token_embedding(tokens) * width**0.5
        embedded = embedded + sinusoids(length, width).to(embedded)
        # A sentence without pieces has nothing to look at; what it sees is left out of the mean.
        seen = is_there | ~is_there.any(1, keepdim=True)
        mask = torch.zeros(seen.shape, dtype=embedded.dtype, device=embedded.device)
        mask = mask.masked_fill_(~seen, -float('inf'))[:, None]
        heads = self.transformer.resblocks[0].attn.num_heads
        mask = mask.expand(-1, length, -1).repeat_interleave(heads, dim=0)
        final = self.ln_final(self.transformer(embedded, attn_mask=mask))
        kept = is_there[..., None].to(final.dtype)
        return (final * kept).sum(1) / (kept.sum(1) + _TINY)


def sinusoids(length: int, width: int) -> Tensor:
    """Sines, then cosines of positions, at wavelengths that grow geometrically.

    Args:
        length: positions.
        width: channels; an odd last one is 0.

    Returns:
        (length, width) float32.

    Example:
        >>> sinusoids(2, 4).shape
        torch.Size([2, 4])
    """
    count = width // 2
    steps = torch.arange(count, dtype=torch.float32) / max(count - 1, 1)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * _SLOWEST**-steps
    table = torch.zeros(length, width)
    table[:, : 2 * count] = torch.cat([angles.sin(), angles.cos()], dim=1)
    return table
