"""What MAFT+ teaches CLIP: to rank masks by how well they fit, and to stay what it was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError

# Added to a union, and to a range that is divided by.
_UNION, _RANGE = 1e-7, 1e-8
_SCALES = (1, 2, 4)


def mask_aware_loss(
    class_logits: Tensor, mask_logits: Tensor, targets: Sequence[InstanceData]
) -> Tensor:
    """How far the probability of a target's class, over the masks, is from how well they fit it.

    Fit is the soft IoU of a mask with the target, stretched over the masks to [0, 1]. It carries no
    gradient.

    Args:
        class_logits: (B, Q, K), without void.
        mask_logits: (B, Q, h, w).
        targets: a ``labels`` (n,) and ``masks`` (n, H, W) for each image.

    Returns:
        Scalar, the mean over all pairs of a target and a mask; 0 where no image has a target (the
        released code stops there).

    Source: MAFT+ (arXiv 2408.00744); its predecessor MAFT (arXiv 2310.00240) section 3.3.
    """
    found, wanted = [], []
    for logits, masks, target in zip(class_logits, mask_logits, targets, strict=True):
        if len(target.labels):
            found.append(logits.float().softmax(-1)[:, target.labels].T)
            wanted.append(_fits(masks, target.masks))
    if not found:
        return class_logits.sum() * 0.0
    return F.smooth_l1_loss(torch.cat(found), torch.cat(wanted))


@torch.no_grad()
def _fits(mask_logits: Tensor, targets: Tensor) -> Tensor:
    """Soft IoU (n, Q) of each target with each mask, from 0 for the worst to 1 for the best."""
    size = (targets.shape[1], targets.shape[2])
    # The sigmoid comes before the resize, unlike where masks are shown.
    small = mask_logits[None].float().sigmoid()
    resized = F.interpolate(small, size, mode='bilinear', align_corners=False)
    masks, binary = resized[0].flatten(1), targets.flatten(1).float()
    overlap = binary @ masks.T
    union = binary.sum(1, keepdim=True) + masks.sum(1) - overlap
    iou = overlap / (union + _UNION)
    low, high = iou.amin(1, keepdim=True), iou.amax(1, keepdim=True)
    return (iou - low) / (high - low + _RANGE)


def representation_compensation(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the student's map is from the teacher's, summed up over strips of three widths.

    Args:
        student: (B, C, h, w).
        teacher: likewise, without gradient.

    Returns:
        Scalar.

    Raises:
        UserError: a map narrower than 4 places: images narrower than 128 pixels.

    Source: MAFT+ (arXiv 2408.00744) section 3.4. As released, the widths are parts of the map's own
    width, though it is stretched to a square first.
    """
    width = student.shape[-1]
    if width < max(_SCALES):
        raise UserError(
            f'the last map of CLIP is {width} places wide, but its strips are a quarter of it; '
            f'train on images of at least {32 * max(_SCALES)} pixels'
        )
    return F.smooth_l1_loss(_strips(student, width), _strips(teacher.detach(), width))


def _strips(dense: Tensor, width: int) -> Tensor:
    """Sums of rows and of columns of a map averaged over squares, (B, numbers)."""
    dense = dense.float().clamp(min=0)
    side = max(dense.shape[-2:])
    if dense.shape[-2] != dense.shape[-1]:
        dense = F.interpolate(dense, (side, side), mode='bilinear', align_corners=False)
    parts = []
    for scale in _SCALES:
        pooled = F.avg_pool2d(dense, width // scale)
        parts += [pooled.sum(-1).flatten(1), pooled.sum(-2).flatten(1)]
    return torch.cat(parts, dim=1)
