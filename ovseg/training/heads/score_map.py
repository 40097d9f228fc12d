"""The score map of pixels and words, and its place in a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError


def score_map(dense: Tensor, text: Tensor) -> Tensor:
    """Cosines of each position and each name.

    Args:
        dense: (B, D, h, w).
        text: (B, K, D).

    Returns:
        (B, K, h, w), in single precision at least.

    Example:
        >>> score_map(torch.ones(1, 4, 2, 3), torch.ones(1, 5, 4)).shape
        torch.Size([1, 5, 2, 3])
    """
    with torch.autocast(dense.device.type, enabled=False):
        # Half precision rounds the smallest norm to 0, and cosines by more than tau forgives.
        dense, text = F.normalize(_single(dense), dim=1), F.normalize(_single(text), dim=2)
        return torch.einsum('bchw,bkc->bkhw', dense, text)


def _single(values: Tensor) -> Tensor:
    return values.float() if values.dtype.itemsize < torch.float32.itemsize else values


def join_score_map(levels: Sequence[Tensor], scores: Tensor, index: int) -> list[Tensor]:
    """A feature pyramid with a score map concatenated to the channels of one level.

    Args:
        levels: (B, C_i, h_i, w_i) each.
        scores: (B, K, h, w).
        index: of the level; its grid is that of the scores.

    Raises:
        UserError: there is no such level, or its grid is another one.
    """
    grids = [tuple(level.shape[2:]) for level in levels]
    if not 0 <= index < len(levels) or grids[index] != tuple(scores.shape[2:]):
        fitting = [number for number, grid in enumerate(grids) if grid == tuple(scores.shape[2:])]
        raise UserError(
            f'model.score_concat_index={index}, but the score map has a grid of '
            f'{tuple(scores.shape[2:])} and the levels {grids}; set it to '
            f'{fitting[0] if fitting else "a level of that grid"}'
        )
    joined = list(levels)
    joined[index] = torch.cat([joined[index], scores.to(joined[index].dtype)], dim=1)
    return joined


def check_neck_widths(
    neck: nn.Module, levels: Sequence[Tensor], index: int, num_classes: int
) -> None:
    """Stops before a neck whose configured widths are not those of the levels.

    Args:
        neck: one of mmseg or mmdet.
        levels: (B, C_i, h_i, w_i) each, with the score map.
        index: of the level that the score map was joined to.
        num_classes: channels of the score map.

    Raises:
        UserError: the widths differ.
    """
    wanted = getattr(neck, 'in_channels', None)
    widths = [level.shape[1] for level in levels]
    if wanted is not None and list(wanted) != widths:
        raise UserError(
            f'model.neck.in_channels is {list(wanted)}, but the levels have {widths} channels: '
            f'level {index} counts one for each of the {num_classes} classes'
        )
