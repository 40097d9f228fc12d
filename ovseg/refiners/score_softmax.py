"""Probabilities on the patch grid, before anything is upsampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ovseg.encoders.dense import DenseFeatures
from ovseg.refiners.prompt_denoising import CLIP_SCALE
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier


@MODELS.register_module()
@dataclass(frozen=True)
class ScoreSoftmax:
    """Probabilities at feature resolution, before upsampling, as CLIP-DINOiser's MaskCLIP has them.

    Attributes:
        scale: temperature.
    """

    scale: float = CLIP_SCALE
    needs: ClassVar[frozenset[str]] = frozenset()
    gives_probabilities: ClassVar[bool] = True

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> probabilities over the rows."""
        return (scores * self.scale).softmax(dim=1)
