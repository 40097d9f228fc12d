"""Prompt denoising: classes that no position is sure of are taken out of the race."""

from __future__ import annotations

from torch import Tensor

# CLIP's temperature, 1 / 0.01: both refinements of MaskCLIP look at softmax(100 cos).
CLIP_SCALE = 100.0
DENOISED_SCORE = -100.0


def prompt_denoising(scores: Tensor, threshold: float, scale: float = CLIP_SCALE) -> Tensor:
    """Sets the scores of classes whose best probability is under the threshold to -100.

    Args:
        scores: (B, P, h, w) cosines.
        threshold: in [0, 1]; 0 returns the scores as they are.
        scale: temperature of the softmax over the rows.

    Returns:
        (B, P, h, w); the input is left as it is.

    Source: MaskCLIP (arXiv 2112.01071) section 3.2; each image is judged by itself.
    """
    if threshold <= 0:
        return scores
    best = (scores * scale).softmax(dim=1).amax(dim=(2, 3), keepdim=True)
    return scores.masked_fill(best < threshold, DENOISED_SCORE)
