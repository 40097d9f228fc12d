"""What stands before the blocks of timm's vision transformers, plain and EVA, on any grid."""

from __future__ import annotations

import torch
from timm.layers import HybridEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ovseg.precision import dtype_of


def patch_map(trunk: VisionTransformer | Eva, image: Tensor) -> Tensor:
    """The patch embedding of images of any size: timm's own takes images of one.

    Args:
        trunk: read, never written.
        image: (B, 3, H, W), normalised, sides multiples of the patch.

    Returns:
        (B, C, h, w).
    """
    embed = trunk.patch_embed
    if isinstance(embed, HybridEmbed):
        return embed.proj(embed.backbone(image.to(dtype_of(embed))))
    patches = embed.proj(image.to(embed.proj.weight.dtype))
    return embed.norm(patches.movedim(1, -1)).movedim(-1, 1)


def position_table(trunk: VisionTransformer | Eva) -> tuple[Tensor | None, int]:
    """Learned positions on the trained grid, and how many rows are of tokens that are no patches.

    Args:
        trunk: read, never written.

    Returns:
        (rows + h0*w0, C), or None where the blocks alone know of places.
    """
    table = trunk.pos_embed
    rows = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
    return None if table is None else table[0], rows


def first_tokens(
    trunk: VisionTransformer | Eva, patches: Tensor, positions: Tensor | None
) -> Tensor:
    """Tokens as they enter the first block, class and register tokens first.

    Args:
        trunk: read, never written.
        patches: (B, h*w, C).
        positions: of :func:`position_table`, resized to the grid.

    Returns:
        (B, prefix + h*w, C).
    """
    tokens = [
        token.to(patches.dtype).expand(len(patches), -1, -1)
        for token in (trunk.cls_token, trunk.reg_token)
        if token is not None
    ]
    if positions is None:
        joined = torch.cat([*tokens, patches], dim=1)
    elif trunk.no_embed_class:
        joined = torch.cat([*tokens, patches + positions], dim=1)
    else:
        joined = torch.cat([*tokens, patches], dim=1) + positions
    return trunk.norm_pre(joined)
