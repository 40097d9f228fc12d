"""CLIP's loss between images and captions, of which several may mean the same."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, logit_scale: Tensor, meaning: Tensor
) -> Tensor:
    """Returns CLIP's loss, where captions that mean the same are no negatives of each other.

    Each image has to find its captions among the batch, and each caption its images. With random
    small worlds several images of a batch have the same caption; CLIP's loss would push these
    apart. Here they share the target evenly. With all meanings different this is CLIP's loss.

    Args:
        image_features: (B, D), unit vectors.
        text_features: (B, D), unit vectors.
        logit_scale: scalar, the inverse temperature.
        meaning: (B,) int, equal for captions that say the same.

    Source: CLIP (arXiv 2103.00020) figure 3; even targets over positives as in UniCL
    (arXiv 2204.03610) equation 3.
    """
    same = (meaning[:, None] == meaning[None, :]).to(image_features.dtype)
    target = same / same.sum(1, keepdim=True)
    logits = logit_scale * image_features @ text_features.T
    # `same` is symmetric: its rows are the targets in both directions.
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
