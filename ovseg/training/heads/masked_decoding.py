"""How a masked-attention decoder goes through its layers: from maps to queries and masks.

The parts are mmdet's, the way through them is here: maps first, which know no words, then queries,
which may look at words, too. mmdet does both in one go, embeds every layer's queries, and holds the
attention's mask once a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmdet.models.dense_heads import Mask2FormerHead
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.mask_pooling import masks_on


@dataclass(frozen=True, eq=False)
class PixelMaps:
    """What the pixel decoder makes of a batch of images.

    Attributes:
        mask_features: (B, C, h, w), stride 4.
        levels: (B, C, h, w) each, strides 32, 16 and 8.
    """

    mask_features: Tensor
    levels: list[Tensor]

    def single(self) -> list[PixelMaps]:
        """Those of each image, as batches of one."""
        return [
            PixelMaps(self.mask_features[n : n + 1], [level[n : n + 1] for level in self.levels])
            for n in range(len(self.mask_features))
        ]


@dataclass(frozen=True)
class LayerOutputs:
    """What the decoder gives after each layer, the untouched queries first.

    Attributes:
        queries: L of (B, Q, C), normed.
        mask_logits: L of (B, Q, h, w).
        mask_features: (B, C, h, w).
    """

    queries: list[Tensor]
    mask_logits: list[Tensor]
    mask_features: Tensor


# Layer, queries and their position -> moved queries, between self-attention and MLP.
Guide = Callable[[int, Tensor, Tensor], Tensor]


def decode_queries(
    head: Mask2FormerHead, maps: PixelMaps, guide: Guide | None = None, only_last: bool = False
) -> LayerOutputs:
    """Queries and masks after each layer.

    Args:
        head: whose layers.
        maps: of its pixel decoder.
        guide: moves the queries of each layer, once they have seen each other.
        only_last: what the last layer gives is all that is kept.

    Source: Mask2Former (arXiv 2112.01527) section 3.2, as released: a query whose mask is empty
        attends everywhere, and padding is attended to.
    """
    memories = [_memory(head, level, index) for index, level in enumerate(maps.levels)]
    batch = len(maps.mask_features)
    queries = head.query_feat.weight.expand(batch, -1, -1)
    position = head.query_embed.weight.expand(batch, -1, -1)
    found: list[Tensor] = []
    mask_logits: list[Tensor] = []
    for number, layer in enumerate([*head.transformer_decoder.layers, None]):
        if only_last:
            found.clear()
            mask_logits.clear()
        found.append(head.transformer_decoder.post_norm(queries))
        mask_logits.append(
            torch.einsum('bqc,bchw->bqhw', head.mask_embed(found[-1]), maps.mask_features)
        )
        if layer is None:
            break
        level = maps.levels[number % len(maps.levels)]
        memory, places = memories[number % len(memories)]
        seen = _attended(mask_logits[-1], (level.shape[2], level.shape[3]))
        asked = queries + position
        queries = layer.norms[0](
            queries + attend(layer.cross_attn, asked, memory + places, memory, seen)
        )
        asked = queries + position
        queries = layer.norms[1](queries + attend(layer.self_attn, asked, asked, queries))
        if guide is not None:
            queries = guide(number, queries, position)
        queries = layer.norms[2](layer.ffn(queries))
    return LayerOutputs(found, mask_logits, maps.mask_features)


def _memory(head: Any, level: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """A level's places (B, N, C) and their position."""
    flat = head.decoder_input_projs[index](level).flatten(2).transpose(1, 2)
    nowhere = level.new_zeros(len(level), *level.shape[2:], dtype=torch.bool)
    position = head.decoder_positional_encoding(nowhere).flatten(2).transpose(1, 2)
    return flat + head.level_embed.weight[index], position.to(flat)


def _attended(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Which places of a map each query sees, (B, Q, N): its mask, or all where that is empty."""
    # In the release sigmoid < 0.5 forbids; a logit just below 0 has a sigmoid of 0.5.
    inside = masks_on(mask_logits.detach(), size).flatten(2).sigmoid() >= 0.5
    return inside | ~inside.any(2, keepdim=True)


def attend(
    part: MultiheadAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    seen: Tensor | None = None,
) -> Tensor:
    """What queries see of values, (B, Q, C), by torch's fused attention; no residual.

    Args:
        part: mmcv's wrapper, whose weights are used; without dropout.
        queries: (B, Q, C).
        keys: (B, N, C).
        values: likewise.
        seen: (B, Q, N) bool, the same for all heads; None for everything.
    """
    own, heads = part.attn, part.num_heads
    weights, biases = own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3)
    asked, offered, told = (
        F.linear(each, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)
        for each, weight, bias in zip((queries, keys, values), weights, biases, strict=True)
    )
    mask = None if seen is None else seen[:, None]
    found = F.scaled_dot_product_attention(asked, offered, told, attn_mask=mask)
    return own.out_proj(found.transpose(1, 2).flatten(2))
