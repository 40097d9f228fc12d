"""SigLIP's loss: every pair of an image and a caption is a question of its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def sigmoid_pair_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    meaning: Tensor,
) -> Tensor:
    """Returns SigLIP's loss, where captions that mean the same are no negatives of each other.

    Each of the B*B pairs of an image and a caption has to say whether they belong together; the
    sum is divided by B. With all meanings different this is SigLIP's loss.

    Args:
        image_features: (B, D), unit vectors.
        text_features: (B, D), unit vectors.
        logit_scale: scalar, the inverse temperature.
        logit_bias: scalar, added to all logits; below 0, since most pairs do not belong together.
        meaning: (B,) int, equal for captions that say the same.

    Source: SigLIP (arXiv 2303.15343) equation 1 and algorithm 1.
    """
    same = (meaning[:, None] == meaning[None, :]).to(image_features.dtype)
    logits = logit_scale * image_features @ text_features.T + logit_bias
    return F.binary_cross_entropy_with_logits(logits, same, reduction='sum') / len(logits)
