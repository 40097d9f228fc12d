"""Text rows moved by the image that they are asked about: MAFT+'s content-dependent transfer."""

from __future__ import annotations

from typing import Literal, get_args

from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor, nn

from ovseg.errors import UserError

TransferForm = Literal['semantic', 'panoptic']


class TextTransfer(nn.Module):
    """Text rows look at the image and are moved by what they see.

    Args:
        embed_dim: E of the text space.
        num_heads: of the attention; published 8.
        form: ``'semantic'`` norms the moved rows, ``'panoptic'`` what moves them, which is nothing
            at the start. Weights of one mean nothing in the other.

    Raises:
        UserError: an unknown form, or heads that do not divide the width.

    Source: MAFT+ (arXiv 2408.00744) section 3.3; ``maft/modeling/`` of jiaosiyu1999/MAFT-Plus.
    """

    def __init__(self, embed_dim: int, num_heads: int = 8, form: TransferForm = 'semantic') -> None:
        super().__init__()
        if form not in get_args(TransferForm):
            raise UserError(
                f"model.transfer.form must be one of {list(get_args(TransferForm))}, got '{form}'"
            )
        if embed_dim % num_heads or embed_dim % 4:
            raise UserError(
                f'model.transfer.num_heads={num_heads} does not divide the {embed_dim} channels of '
                'the text space, or they are no multiple of 4; choose other heads'
            )
        self.form = form
        self.attention = nn.MultiheadAttention(embed_dim, num_heads)
        self.norm = nn.LayerNorm(embed_dim)
        self.mlp = nn.Linear(embed_dim, embed_dim)
        self.position = SinePositionalEncoding(embed_dim // 2, normalize=True)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        if form == 'panoptic':
            nn.init.zeros_(self.mlp.weight)
            nn.init.zeros_(self.mlp.bias)

    def forward(self, rows: Tensor, image: Tensor) -> Tensor:
        """Moved rows of each image, (B, P, E); their length is no longer 1.

        Args:
            rows: (P, E), unit vectors.
            image: (B, E, h, w), the image in the text space.
        """
        position = self.position(None, image).to(image)
        values = image.flatten(2).permute(2, 0, 1)
        keys = values + position.flatten(2).permute(2, 0, 1)
        queries = rows[:, None].expand(-1, len(image), -1)
        seen, _ = self.attention(queries, keys, values, need_weights=False)
        moved = self.mlp(seen)
        if self.form == 'panoptic':
            return (queries + self.norm(moved)).transpose(0, 1)
        return self.norm(queries + moved).transpose(0, 1)


def channel_major_vectors(dense: Tensor) -> Tensor:
    """A map (B, C, h, w) cut into vectors (B, h, w, C) that are no pixels: as MAFT+ was trained.

    Its code reshapes without moving the channels to the end, so a vector is C numbers that follow
    each other in memory, mostly of one channel. Weights that were trained on that need it.

    Args:
        dense: a map.
    """
    batch, channels, height, width = dense.shape
    return dense.reshape(batch, height, width, channels)


def pixel_vectors(dense: Tensor) -> Tensor:
    """The vector of each pixel, (B, h, w, C).

    Args:
        dense: (B, C, h, w).
    """
    return dense.movedim(1, -1)
