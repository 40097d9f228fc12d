"""From features of two states to a map of what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F


def state_probabilities(features: Tensor, rows: Tensor) -> Tensor:
    """Share (..., S) of each state in patches, by cosines without a temperature.

    Cosines of two sentences about one thing differ in the second digit, so shares stay near one
    half: only their order says anything.

    Args:
        features: (..., D), of any length but zero.
        rows: (S, D), unit vectors of the states.

    Source: AnoVL (arXiv 2308.15939), section 3.2.
    """
    return (F.normalize(features.float(), dim=-1) @ rows.float().T).softmax(-1)


def smoothed(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) averaged over 3 x 3 patches; at the border the outermost are repeated.

    Example:
        >>> smoothed(torch.tensor([[[[9.0, 0.0, 0.0]]]])).tolist()
        [[[[6.0, 3.0, 0.0]]]]
    """
    return F.avg_pool2d(F.pad(maps, (1, 1, 1, 1), mode='replicate'), 3, stride=1)


def state_maps(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, S, H, W) of states' shares on a patch grid.

    Args:
        probabilities: (B, h, w, S), from :func:`state_probabilities`.
        size: (H, W) in pixels; bilinear, and corners keep their place (align_corners True).

    Source: AnoVL, vl_test.py of the released code.
    """
    maps = smoothed(probabilities.movedim(-1, 1))
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)


def pooled_states(raw: Iterable[Tensor]) -> Tensor:
    """Unit vectors (S, D) of states from the raw encodings (P, D) of the sentences of each.

    Source: AnoVL; the mean is taken before any encoding is normalised.
    """
    return torch.stack([F.normalize(sentences.mean(0), dim=-1) for sentences in raw])


def object_of(path: str | None) -> str | None:
    """The object that an image shows, by its folders as MVTec AD has them; None without these.

    Example:
        >>> object_of('data/metal_nut/test/bent/000.png')
        'metal_nut'
    """
    parts = Path(path or '').parts
    return parts[-4] if len(parts) > 3 and parts[-3] == 'test' else None
