"""Deformable attention on a CPU: the sampled values of a query as one weighted sum of table rows.

mmcv's torch form samples each level for itself into tensors of all heads, queries and points, which
are then weighed and summed up. Here the maps are one table of rows, and a bilinear sample is four
rows with four weights, so that torch's embedding bag reads each row once and holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

# Zeros around each map: one place before, two after, so that samples outside need no test.
_BEFORE, _AFTER = 1, 2


class BagAttention(MultiScaleDeformableAttention):
    """mmcv's, with :func:`sample_values` on a CPU; on other devices as it is.

    Padding is attended to: ``key_padding_mask`` is not looked at there.
    """

    @override
    def forward(self, query: Tensor, *args: Any, **settings: Any) -> Tensor:
        """See mmcv's; here called with ``query``, ``query_pos``, the points and shapes by name."""
        if query.device.type != 'cpu' or args or not self.batch_first:
            return super().forward(query, *args, **settings)
        value = settings.get('value')
        value = query if value is None else value
        points, shapes = settings['reference_points'], settings['spatial_shapes']
        position = settings.get('query_pos')
        asked = query if position is None else query + position
        parts = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(asked).unflatten(-1, (*parts, 2))
        weights = self.attention_weights(asked).unflatten(-1, (parts[0], -1)).softmax(-1)
        places = points[:, :, None, :, None] + offsets / shapes.flip(-1)[:, None]
        found = sample_values(
            self.value_proj(value).unflatten(-1, (self.num_heads, -1)),
            shapes.tolist(),
            places,
            weights.unflatten(-1, parts[1:]),
        )
        return self.dropout(self.output_proj(found)) + query


def sample_values(
    values: Tensor, shapes: Sequence[Sequence[int]], places: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sums (B, Q, heads * D) of values at places between the pixels; zeros outside.

    Args:
        values: (B, N, heads, D), the levels' maps flattened and joined.
        shapes: (height, width) of each level.
        places: (B, Q, heads, levels, points, 2) as x, y in [0, 1] of a level.
        weights: (B, Q, heads, levels, points).

    Source: Deformable DETR (arXiv 2010.04159) section 4.1; bilinear, corners not aligned.
    """
    batch, _, heads, channels = values.shape
    around = (0, 0, 0, 0, _BEFORE, _AFTER, _BEFORE, _AFTER)
    maps = values.split([height * width for height, width in shapes], dim=1)
    padded = [
        F.pad(part.unflatten(1, tuple(shape)), around).flatten(1, 2)
        for part, shape in zip(maps, shapes, strict=True)
    ]
    table = torch.cat(padded, dim=1)
    sizes = places.new_tensor([[width, height] for height, width in shapes])[:, None]
    # The pixel with index i has its centre at i + 1/2, and the first is at 1 in the padded map.
    # Minimum, not clamp: its gradient is 0 outside, where nothing is seen either.
    spots = torch.minimum((places * sizes + 0.5).clamp(min=0), sizes + 1)
    corner = spots.detach().floor()
    right, below = (spots - corner).unbind(-1)
    x, y = corner.int().unbind(-1)
    number = torch.int32
    row = torch.tensor([width + _BEFORE + _AFTER for _, width in shapes], dtype=number)
    start = torch.tensor([0, *(part.shape[1] for part in padded[:-1])], dtype=number).cumsum(0)
    first = (y * row[:, None] + x + start[:, None].to(number)) * heads
    first = first + torch.arange(heads, dtype=number)[:, None, None]
    first = first + (torch.arange(batch, dtype=number) * (table.shape[1] * heads)).view(
        -1, 1, 1, 1, 1
    )
    # To the right, below, and both, in the table.
    steps = torch.stack([row * 0, row * 0 + 1, row, row + 1], dim=1)[:, None] * heads
    lower = below * weights
    upper = weights - lower
    upper_right, lower_right = upper * right, lower * right
    shares = torch.stack(
        [upper - upper_right, upper_right, lower - lower_right, lower_right], dim=-1
    )
    bags = batch * places.shape[1] * heads
    found = F.embedding_bag(
        (first[..., None] + steps).view(bags, -1),
        table.reshape(-1, channels),
        mode='sum',
        per_sample_weights=shares.view(bags, -1),
    )
    return found.view(batch, -1, heads * channels)
