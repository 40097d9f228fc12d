"""Features averaged under masks: what a map has to say of each mask, in one vector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Added to the number of pixels, so that an empty mask has a vector: zero.
_TINY = 1e-8


def masks_on(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits (B, Q, h, w) resized to a map, bilinear with align_corners False.

    Args:
        mask_logits: (B, Q, H, W).
        size: (h, w) of the map.
    """
    if tuple(mask_logits.shape[-2:]) == tuple(size):
        return mask_logits
    return F.interpolate(mask_logits, size, mode='bilinear', align_corners=False)


def pool_in_masks(features: Tensor, mask_logits: Tensor) -> Tensor:
    """Means of a map under masks, (B, Q, C); zero where a mask is empty. No gradient to masks.

    Args:
        features: (B, C, h, w).
        mask_logits: (B, Q, H, W), resized to the map; a place is in a mask where its logit is
            above 0.

    Source: FC-CLIP (arXiv 2308.02487) section 3.3; ``MaskPooling`` of bytedance/fc-clip.

    Example:
        >>> pool_in_masks(torch.tensor([[[[1., 3, 8]]]]), torch.tensor([[[[1., 1, -1]]]]))
        tensor([[[2.]]])
    """
    size = (features.shape[2], features.shape[3])
    inside = (masks_on(mask_logits.detach(), size) > 0).to(features)
    counts = inside.sum((2, 3))[..., None] + _TINY
    return torch.einsum('bqhw,bchw->bqc', inside / counts[..., None], features)
