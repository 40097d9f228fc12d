"""What CLIP-DINOiser's two layers learn: DINO's correlations and FOUND's foreground."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ovseg.affinity.correlation import patch_correlation

# FOUND's map counts as foreground above this probability.
_FOREGROUND = 0.5


def correlation_loss(projected: Tensor, affinity: Tensor) -> Tensor:
    """Returns the cross entropy between predicted correlations and the teacher's.

    The correlation, cut off at 0, is itself the logit, without temperature. With a share p of
    correlated pairs the loss cannot fall under 0.313 p + 0.693 (1 - p), so values of 0.5 to 0.65
    are normal.

    Args:
        projected: (B, C, h, w), compared by cosine.
        affinity: (B, h*w, h*w) of the teacher; pairs above 0 belong together.

    Source: CLIP-DINOiser (arXiv 2312.12359) equation 4.
    """
    logits = patch_correlation(projected).clamp(min=0)
    return F.binary_cross_entropy_with_logits(logits, (affinity > 0).to(logits.dtype))


def foreground_loss(logits: Tensor, foreground: Tensor) -> Tensor:
    """Returns the cross entropy between predicted foreground and the teacher's.

    Args:
        logits: (B, 1, h, w).
        foreground: (B, 1, h, w) probability of the teacher.

    Source: CLIP-DINOiser (arXiv 2312.12359) equation 6.
    """
    return F.binary_cross_entropy_with_logits(logits, (foreground > _FOREGROUND).to(logits.dtype))
