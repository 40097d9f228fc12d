"""The context decoder: text, or learned contexts, look at the image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.registry import MODELS


@MODELS.register_module()
class ContextDecoder(nn.Module):
    """A small transformer decoder from text to what the image changes in it.

    Args:
        transformer_width: of its layers.
        transformer_heads: of each attention; must divide the width.
        transformer_layers: layers.
        visual_dim: C of the image's embeddings.
        dropout: after each projection and inside each MLP.
        text_dim: T of what is decoded; None for C, as when text embeddings are.

    Raises:
        UserError: heads that do not divide the width.

    Source: DenseCLIP (arXiv 2112.01518), context-aware prompting.
    """

    def __init__(
        self,
        transformer_width: int = 256,
        transformer_heads: int = 4,
        transformer_layers: int = 6,
        visual_dim: int = 1024,
        dropout: float = 0.1,
        text_dim: int | None = None,
    ) -> None:
        super().__init__()
        if transformer_width % transformer_heads:
            raise UserError(
                f'context_decoder.transformer_heads={transformer_heads} does not divide '
                f'transformer_width={transformer_width}; choose a divisor'
            )
        self.visual_dim = visual_dim
        self.text_dim = visual_dim if text_dim is None else text_dim
        width = transformer_width
        self.memory_proj = nn.Sequential(
            nn.LayerNorm(visual_dim), nn.Linear(visual_dim, width), nn.LayerNorm(width)
        )
        self.text_proj = nn.Sequential(nn.LayerNorm(self.text_dim), nn.Linear(self.text_dim, width))
        self.decoder = nn.ModuleList(
            [_DecoderLayer(width, transformer_heads, dropout) for _ in range(transformer_layers)]
        )
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.text_dim))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Decodes text with an image as memory.

        Args:
            text: (B, K, T).
            visual: (B, N, C), not normalised.

        Returns:
            (B, K, T).
        """
        memory = self.memory_proj(visual)
        decoded = self.text_proj(text)
        for layer in self.decoder:
            decoded = layer(decoded, memory)
        return self.out_proj(decoded)


class _DecoderLayer(nn.Module):
    """Attention among the text, attention to the image, MLP; each on normalised input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads, dropout)
        self.cross_attn = _Attention(width, heads, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, memory: Tensor) -> Tensor:
        normed = self.norm1(text)
        text = text + self.self_attn(normed, normed)
        text = text + self.cross_attn(self.norm2(text), memory)
        return text + self.dropout(self.mlp(self.norm3(text)))


class _Attention(nn.Module):
    """Multi-head attention with projections of their own, without bias but the last."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(width, width, bias=False) for _ in range(3)
        )
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        def split(flat: Tensor) -> Tensor:
            return flat.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.q_proj(queries)), split(self.k_proj(memory)), split(self.v_proj(memory))
        )
        return self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2)))
