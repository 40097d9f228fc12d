"""Prompt denoising: classes that no position is sure of are taken out of the race."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ovseg.encoders.dense import DenseFeatures
from ovseg.refiners.grid import check_share
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier

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


@MODELS.register_module()
@dataclass(frozen=True)
class PromptDenoising:
    """See :func:`prompt_denoising`.

    Attributes:
        threshold: in [0, 1]; published 0.5.
    """

    threshold: float = 0.5
    needs: ClassVar[frozenset[str]] = frozenset()
    gives_probabilities: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks the threshold."""
        check_share(self.threshold, 'PromptDenoising.threshold')

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> cosines, or -100 for denoised classes."""
        return prompt_denoising(scores, self.threshold)
