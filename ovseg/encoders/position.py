"""Learned position embeddings on another grid than the trained one."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, cat
from torch.nn import functional as F

ResizeRule = Literal[
    'token_count',
    'always',
    'scale_factor',
    'dino',
    'antialias',
    'antialias_bilinear',
    'radio',
    'radio_corners',
]
RESIZE_RULES: tuple[str, ...] = get_args(ResizeRule)
_KEEP_EQUAL_COUNTS = ('token_count', 'scale_factor')
_SAMPLE_BY_FACTOR = ('scale_factor', 'dino')
_ANTIALIASED = ('antialias', 'antialias_bilinear')
_CUT_OF_A_SQUARE = ('radio', 'radio_corners')
_BILINEAR = ('antialias_bilinear', *_CUT_OF_A_SQUARE)
# Rules under which one formula holds for all grids, those of MaskCLIP's test for chance counts
# apart. By a factor, equal grids are another case.
OF_ANY_GRID: tuple[str, ...] = ('always', 'antialias', 'antialias_bilinear', 'token_count')
# DINO's: (n + 0.1) / g * g, rounded down, is n again. CLIP's dense methods took it over.
_ROUNDING_GUARD = 0.1


def resize_position_embedding(
    embedding: Tensor,
    trained_grid: tuple[int, int],
    grid: tuple[int, int],
    rule: ResizeRule,
    mode: Literal['bicubic', 'bilinear'] = 'bicubic',
    any_grid: bool = False,
    prefix: int = 1,
) -> Tensor:
    """Returns the position embedding for a patch grid.

    Args:
        embedding: (prefix + h0*w0, C), class and register tokens first.
        trained_grid: (h0, w0).
        grid: (h, w) wanted.
        rule: ``'always'`` resizes whenever the grids differ. ``'token_count'`` is MaskCLIP's test:
            a grid of another shape with as many tokens (7x28 for 14x14) keeps the embedding in
            row-major order, misaligned; its published numbers include that. ``'scale_factor'`` has
            the same test and samples by the factors ``(h + 0.1) / h0`` and ``(w + 0.1) / w0``, as
            SCLIP, ClearCLIP, NACLIP, ProxyCLIP and Trident do: other numbers than by size.
            ``'dino'`` samples by these factors whenever the grids differ. ``'antialias'`` is
            ``'always'`` with antialiasing, as DINOv2 with registers and timm have it;
            ``'antialias_bilinear'`` is that with bilinear interpolation whatever `mode` says
            (TIPSv2, SigLIP 2). ``'radio'`` resizes bilinearly to a square of the longer side and
            takes its upper left part (C-RADIO); ``'radio_corners'`` does that corner to corner.
        mode: interpolation; DenseCLIP's trained towers resize bilinearly.
        any_grid: do not look whether the grids are alike, since the result serves others, too: for
            programs whose sizes are open. Where they are, resizing by size changes nothing.
        prefix: rows of tokens that are no patches.

    Returns:
        (prefix + h*w, C), with align_corners False unless the rule says so; the prefix is
        unchanged.

    Example:
        >>> import torch
        >>> resize_position_embedding(torch.zeros(5, 8), (2, 2), (3, 4), 'always').shape
        torch.Size([13, 8])
    """
    if not any_grid and _stays(trained_grid, grid, rule):
        return embedding
    prefix_part, patch_part = embedding[:prefix], embedding[prefix:]
    planes = patch_part.T.unflatten(1, trained_grid)[None]
    target: dict = {'size': (max(grid), max(grid)) if rule in _CUT_OF_A_SQUARE else grid}
    if rule in _SAMPLE_BY_FACTOR:
        # Not recomputed from the sizes: the factor with its 0.1 decides where samples are taken.
        target = {
            'scale_factor': tuple(
                (wanted + _ROUNDING_GUARD) / trained
                for wanted, trained in zip(grid, trained_grid, strict=True)
            ),
            'recompute_scale_factor': False,
        }
    planes = F.interpolate(
        planes.float(),
        **target,
        mode='bilinear' if rule in _BILINEAR else mode,
        align_corners=rule == 'radio_corners',
        antialias=rule in _ANTIALIASED,
    )
    planes = planes[..., : grid[0], : grid[1]]
    return cat([prefix_part, planes[0].flatten(1).T.to(embedding.dtype)])


def _stays(trained_grid: tuple[int, int], grid: tuple[int, int], rule: ResizeRule) -> bool:
    if grid == trained_grid:
        return True
    return rule in _KEEP_EQUAL_COUNTS and grid[0] * grid[1] == trained_grid[0] * trained_grid[1]
