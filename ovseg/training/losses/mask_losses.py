"""What a SAM is trained by: focal loss, dice loss, the IoU to be predicted, attention in masks."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

# Keeps the logarithm of a share finite.
_SMALLEST_SHARE = 1e-6


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Returns the binary focal loss of each mask, averaged over its pixels.

    Args:
        logits: (..., H, W).
        target: (..., H, W) in {0, 1}, same shape.
        gamma: how little well-classified pixels count; 0 is the cross-entropy.

    Returns:
        (...), one number a mask.

    Source: Focal loss (arXiv 1708.02002) equation 4, without its alpha.
    """
    # A negative alpha leaves it out.
    return sigmoid_focal_loss(logits, target, alpha=-1, gamma=gamma).mean((-2, -1))


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Returns one minus the soft Dice coefficient of each mask.

    Args:
        logits: (..., H, W).
        target: (..., H, W) in {0, 1}, same shape.

    Returns:
        (...) in [0, 1].

    Source: V-Net (arXiv 1606.04797) section 3; 1 is added above and below the fraction.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    total = probability.sum((-2, -1)) + target.sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_iou(masks: Tensor, target: Tensor) -> Tensor:
    """Returns the intersection over union of each pair of masks; 0 if both are empty.

    Args:
        masks: (..., H, W) bool.
        target: (..., H, W) bool; leading sizes are broadcast.

    Example:
        >>> mask_iou(torch.tensor([[True, True]]), torch.tensor([[True, False]]))
        tensor(0.5000)
    """
    overlap = (masks & target).sum((-2, -1))
    union = (masks | target).sum((-2, -1))
    return overlap / union.clamp(min=1)


def attention_outside(weights: Tensor, coverage: Tensor) -> Tensor:
    """How much an attention leaves the masks of its queries: ``-log`` of what stays inside, a mean.

    Args:
        weights: (heads, N, N) attention of N patches, rows summing to 1.
        coverage: (M, 1, g, g) share of each of the N = g * g patches that a mask covers, in [0, 1].

    Returns:
        Scalar, 0 if everything stays inside. The mean is over heads and over pairs of a mask and a
        patch that it covers wholly; 0 if there is no such pair.
    """
    covered = coverage.flatten(1)
    inside = weights @ covered.T  # (heads, N, M)
    whole = (covered.T == 1).to(weights)
    lost = -inside.clamp_min(_SMALLEST_SHARE).log() * whole
    return lost.sum() / (len(weights) * whole.sum()).clamp_min(1)
