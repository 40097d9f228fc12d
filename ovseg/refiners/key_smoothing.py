"""Key smoothing: positions that are unsure take the votes of positions with like keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.refiners.grid import check_share
from ovseg.refiners.prompt_denoising import CLIP_SCALE
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier

KeyNorm = Literal['tokens', 'channels']
_NORM_DIM = {'tokens': 1, 'channels': 2}


def key_smoothing(
    scores: Tensor,
    keys: Tensor,
    threshold: float,
    norm: KeyNorm = 'tokens',
    scale: float = CLIP_SCALE,
) -> Tensor:
    """Returns ``softmax(scale * scores)``, smoothed where its maximum is under the threshold.

    Args:
        scores: (B, P, h, w) cosines.
        keys: (B, h*w, C) projected keys of the last attention, row-major.
        threshold: in [0, 1]; 1 smooths every position whose best probability is not exactly 1.
        norm: which axis of the keys is normalised. ``'tokens'`` normalises every channel over the
            positions, as the released code does and its numbers include; ``'channels'`` every
            position over its channels, as the text of the paper reads.
        scale: temperature of the softmax over the rows.

    Returns:
        (B, P, h, w): probabilities; smoothed positions no longer sum to 1.

    Source: MaskCLIP (arXiv 2112.01071) section 3.2.
    """
    probabilities = (scores * scale).softmax(dim=1)
    unsure = (probabilities.amax(dim=1) < threshold).flatten(1)
    flat = probabilities.flatten(2).transpose(1, 2)
    # A softmax under autocast is float32; so is all that follows, which half precision would end.
    keys = F.normalize(keys.to(flat.dtype), p=2, dim=_NORM_DIM[norm])
    smoothed = flat.clone()
    with torch.autocast(scores.device.type, enabled=False):
        for image, rows in enumerate(unsure):
            # Only the unsure rows of W P, and W P as K (K^T P): no matrix of positions squared.
            votes = keys[image].T @ flat[image]
            smoothed[image, rows] = keys[image, rows] @ votes
    return smoothed.transpose(1, 2).reshape(torch.Size(scores.shape))


@MODELS.register_module()
@dataclass(frozen=True)
class KeySmoothing:
    """See :func:`key_smoothing`.

    Attributes:
        threshold: in [0, 1]; published 1.0.
        norm: ``'tokens'`` for the published numbers.
    """

    threshold: float = 1.0
    norm: KeyNorm = 'tokens'
    needs: ClassVar[frozenset[str]] = frozenset({'keys'})
    gives_probabilities: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the threshold and the axis."""
        check_share(self.threshold, 'KeySmoothing.threshold')
        if self.norm not in ('tokens', 'channels'):
            raise UserError(f"KeySmoothing.norm must be 'tokens' or 'channels', got '{self.norm}'")

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) cosines -> smoothed probabilities."""
        assert features.keys is not None  # of `needs`
        return key_smoothing(scores, features.keys, self.threshold, self.norm)
