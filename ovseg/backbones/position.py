"""Learned position embeddings on another grid than the trained one."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, cat
from torch.nn import functional as F

ResizeRule = Literal['token_count', 'always', 'scale_factor']
RESIZE_RULES: tuple[str, ...] = ('token_count', 'always', 'scale_factor')
# DINO nudges the factor so that rounding down gives the wanted size, and samples with it.
_SCALE_NUDGE = 0.1


def resize_position_embedding(
    embedding: Tensor, trained_grid: tuple[int, int], grid: tuple[int, int], rule: ResizeRule
) -> Tensor:
    """Returns the position embedding for a patch grid.

    Args:
        embedding: (1 + h0*w0, C), class token first.
        trained_grid: (h0, w0).
        grid: (h, w) wanted.
        rule: ``'always'`` resizes whenever the grids differ. ``'token_count'`` is MaskCLIP's test:
            a grid of another shape with as many tokens (7x28 for 14x14) keeps the embedding in
            row-major order, misaligned; its published numbers include that. ``'scale_factor'`` is
            DINO's: the factor is (side + 0.1) / trained side, in the sampling coordinates too; the
            embedding stays as it is only on a square grid of as many tokens.

    Returns:
        (1 + h*w, C): bicubic, align_corners False, no antialiasing; the class part is unchanged.

    Example:
        >>> import torch
        >>> resize_position_embedding(torch.zeros(5, 8), (2, 2), (3, 4), 'always').shape
        torch.Size([13, 8])
    """
    if grid == trained_grid:
        return embedding
    if rule == 'token_count' and grid[0] * grid[1] == trained_grid[0] * trained_grid[1]:
        return embedding
    class_part, patch_part = embedding[:1], embedding[1:]
    planes = patch_part.T.unflatten(1, trained_grid)[None]
    how: dict = {'size': grid}
    if rule == 'scale_factor':
        factors = zip(grid, trained_grid, strict=True)
        how = {'scale_factor': tuple((side + _SCALE_NUDGE) / old for side, old in factors)}
    planes = F.interpolate(planes.float(), **how, mode='bicubic', align_corners=False)
    return cat([class_part, planes[0].flatten(1).T.to(embedding.dtype)])
