"""Proto-CLIP: probabilities by visual prototypes and by words, mixed.

Source: Proto-CLIP (arXiv 2307.03073), eq. 1 to 3, and its released ``utils.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.exemplars.support import Support
from ovseg.text import Classifier

# Published for ImageNet.
ALPHA, BETA = 0.5, 12.0


@dataclass(frozen=True, eq=False)
class MixtureClassifier(Classifier):
    """Rows in two places; their scores are logarithms of mixed probabilities.

    Attributes:
        visual: (P, D) unit vectors, float32: where images of the rows' classes lie.
        share: in [0, 1], of the visual prototypes.
        sharpness: beta; probabilities go by ``exp(-beta ||u - v||^2)``.
    """

    gives_log_probabilities: ClassVar[bool] = True

    visual: Tensor = field(kw_only=True)
    share: float = field(kw_only=True)
    sharpness: float = field(kw_only=True)

    def to(self, device: torch.device | str) -> MixtureClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        return replace(super().to(device), visual=self.visual.to(device))

    def row_scores(self, features: Tensor, normalize: bool = True) -> Tensor:
        """See :class:`~ovseg.text.Classifier`."""
        text = super().row_scores(features, normalize)
        unit = F.normalize(features.float(), dim=1) if normalize else features.float()
        with torch.autocast(unit.device.type, enabled=False):
            visual = torch.einsum('pd,bdhw->bphw', self.visual, unit)
        mixed = mixture(visual.movedim(1, -1), text.movedim(1, -1), self.share, self.sharpness)
        smallest = torch.finfo(mixed.dtype).tiny
        return mixed.clamp_min(smallest).log().movedim(-1, 1) / self.logit_scale


def image_prototypes(features: Tensor, labels: Tensor, count: int) -> Tensor:
    """Mean unit feature of each class, brought to unit length, (C, D).

    Args:
        features: (N, D).
        labels: (N,) int64.
        count: C.
    """
    unit = F.normalize(features, dim=1)
    total = unit.new_zeros(count, unit.shape[1]).index_add_(0, labels, unit)
    return F.normalize(total, dim=1)


def mixture(visual: Tensor, text: Tensor, alpha: float, beta: float) -> Tensor:
    """Probabilities of unit features by two sets of prototypes.

    For unit vectors ``-beta ||u - v||^2`` is ``2 beta u.v`` up to a constant.

    Args:
        visual: (..., C) cosines with visual prototypes.
        text: (..., C) cosines with words.
        alpha: in [0, 1], share of the visual ones.
        beta: sharpness of both.
    """
    by_image, by_text = ((2 * beta * cosines).softmax(-1) for cosines in (visual, text))
    return alpha * by_image + (1 - alpha) * by_text


def proto_clip(support: Support, alpha: float = ALPHA, beta: float = BETA) -> Classifier:
    """Visual prototypes and words as a mixture; without exemplars, what a class's words expect.

    Args:
        support: exemplars beside the words.
        alpha: in [0, 1], share of the visual prototypes.
        beta: sharpness; positive.

    Raises:
        UserError: numbers out of range.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f'alpha of proto-clip must lie in [0, 1], got {alpha}')
    if not beta > 0:
        raise UserError(f'beta of proto-clip must be positive, got {beta}')
    return support.classifier(
        support.text,
        scale=1.0,
        kind=MixtureClassifier,
        visual=F.normalize(support.filled, dim=1).float(),
        share=alpha,
        sharpness=beta,
    )
