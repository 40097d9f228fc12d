"""CLIP's attention pooling at every position: open_clip's module, run over a whole map."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError

PositionRule = Literal['interpolate', 'crop']


def mean_and_positions(features: Tensor) -> Tensor:
    """The tokens of an attention pool: (B, C, h, w) -> (B, 1 + h*w, C), their mean first."""
    tokens = features.flatten(2).transpose(1, 2)
    return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)


def attend(pool: AttentionPool2d, queries: Tensor, tokens: Tensor) -> Tensor:
    """Multi-head attention with the projections of an attention pool.

    Args:
        pool: read, never written.
        queries: (B, M, C).
        tokens: (B, N, C), keys and values.

    Returns:
        (B, M, D), after the output projection.
    """

    def split(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        split(pool.q_proj(queries)), split(pool.k_proj(tokens)), split(pool.v_proj(tokens))
    )
    return pool.c_proj(mixed.transpose(1, 2).flatten(2))


def attend_in_masks(pool: AttentionPool2d, features: Tensor, inside: Tensor) -> Tensor:
    """Attention pooling over the places of masks, each by itself; (B, Q, D).

    The query is the map's mean with its position, the same for all masks. It is not among what is
    looked at, unlike in CLIP's own pooling. An empty mask sees nothing: its embedding is the bias
    of the output projection.

    Args:
        pool: read, never written.
        features: (B, C, h, w).
        inside: (B, Q, h*w) bool, the places of each mask.

    Source: ``visual_prediction_forward_rn`` of bytedance/fc-clip, ``modeling/backbone/clip.py``.
    """
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    grid = (features.shape[2], features.shape[3])
    table = resize_position_embedding(
        pool.positional_embedding, (side, side), grid, 'always', 'bilinear'
    )
    tokens = mean_and_positions(features) + table.to(features)
    query = pool.q_proj(tokens[:, :1]).unflatten(-1, (pool.num_heads, -1))[:, 0]
    keys, values = (
        project(tokens[:, 1:]).unflatten(-1, (pool.num_heads, -1))
        for project in (pool.k_proj, pool.v_proj)
    )
    scores = torch.einsum('bhd,bnhd->bhn', query, keys) / query.shape[-1] ** 0.5
    masked = scores[:, None].float().masked_fill(~inside[:, :, None], float('-inf'))
    is_empty = ~inside.any(-1)[..., None, None]
    weights = masked.masked_fill(is_empty, 0.0).softmax(-1).masked_fill(is_empty, 0.0)
    mixed = torch.einsum('bqhn,bnhd->bqhd', weights.to(values), values)
    return pool.c_proj(mixed.flatten(2))


class DenseAttentionPool(AttentionPool2d):
    """Attention pooling whose queries are all positions, for maps of any size.

    Args:
        side: R; the position table has 1 + R*R rows.
        channels: C of the maps.
        heads: must divide C.
        output_dim: D of the text space.
        position: ``'interpolate'`` stretches the table over the map (bilinear, align_corners
            False), as DenseCLIP's segmentation; ``'crop'`` takes its top left part, as DenseCLIP's
            detection, whose table covers the largest image.

    Raises:
        UserError: unknown rule, or heads that do not divide the channels.

    Source: DenseCLIP (arXiv 2112.01518), the dense form of CLIP's attention pooling.
    """

    def __init__(
        self,
        side: int,
        channels: int,
        heads: int,
        output_dim: int,
        position: PositionRule = 'interpolate',
    ) -> None:
        if position not in get_args(PositionRule):
            raise UserError(
                f"backbone.position must be one of {list(get_args(PositionRule))}, got '{position}'"
            )
        if channels % heads:
            raise UserError(
                f'backbone.heads={heads} does not divide the {channels} channels of the last stage;'
                ' choose a divisor'
            )
        super().__init__(side, channels, heads, output_dim)
        self.side = side
        self.position = position
        # CLIP's own start, which open_clip leaves to the tower around the pool.
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(projection.weight, std=channels**-0.5)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds a map.

        Args:
            features: (B, C, h, w).

        Returns:
            (B, D) for the mean token and (B, D, h, w) for the positions; not normalised.

        Raises:
            UserError: the map is larger than a table that is to be cropped.
        """
        grid = (features.shape[2], features.shape[3])
        tokens = mean_and_positions(features)
        embeddings = attend(self, *(tokens + self.positions(grid).to(tokens.dtype),) * 2)
        return embeddings[:, 0], embeddings[:, 1:].transpose(1, 2).unflatten(2, grid)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position table for a grid (h, w): (1 + h*w, C), with gradients."""
        table, side = self.positional_embedding, self.side
        if self.position == 'interpolate':
            return resize_position_embedding(table, (side, side), grid, 'always', 'bilinear')
        if max(grid) > side:
            raise UserError(
                f'a map of {grid[0]} x {grid[1]} does not fit the position table of {side} x '
                f"{side} that backbone.position='crop' cuts it from; set "
                f'backbone.input_resolution to {32 * max(grid)} or more, or send smaller images'
            )
        rows = table[1:].unflatten(0, (side, side))[: grid[0], : grid[1]]
        return torch.cat([table[:1], rows.flatten(0, 1)])
