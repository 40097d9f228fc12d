"""What DenseCLIP's detectors teach the score map: each box is filled with its class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

STRIDE = 4  # pixels of the image for each cell of the raster, along each side


def box_raster(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    num_classes: int,
    image_size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Returns which classes cover each cell, and which cells are covered at all.

    Corners are divided by 4 and cut towards zero, then moved to the last cell if they lie beyond
    it; a box reaches up to, not into, the cell of its lower right corner. So the last row and
    column are never covered, and a box between two multiples of 4 vanishes. Where boxes of several
    classes overlap, all of them hold.

    Args:
        boxes: (N_i, 4) an image, xyxy in pixels of the network's input.
        labels: (N_i,) an image, int64 in [0, `num_classes`).
        num_classes: K.
        image_size: (height, width) of the padded batch.

    Returns:
        Target (B, K, h, w) and mask (B, 1, h, w) with h = height // 4, both float32 in {0, 1} on
        the device of the boxes.

    Source: DenseCLIP (arXiv 2112.01518), released detection code.
    """
    height, width = (side // STRIDE for side in image_size)
    target = boxes[0].new_zeros((len(boxes), num_classes, height, width), dtype=torch.float32)
    rows = torch.arange(height, device=target.device)
    columns = torch.arange(width, device=target.device)
    last = torch.tensor([width, height, width, height], device=target.device) - 1
    for filled, corners, classes in zip(target, boxes, labels, strict=True):
        corners = (corners / STRIDE).trunc().clamp(min=0)
        left, top, right, bottom = torch.minimum(corners, last)[..., None].unbind(1)
        inside_rows = (rows >= top) & (rows < bottom)
        inside_columns = (columns >= left) & (columns < right)
        covered = inside_rows[:, :, None] & inside_columns[:, None, :]
        # Counts first: they do not depend on the order of the boxes.
        filled.index_add_(0, classes, covered.to(filled.dtype)).clamp_(max=1)
    return target, target.amax(1, keepdim=True)


def box_segmentation_loss(
    score_map: Tensor,
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    image_size: tuple[int, int],
) -> Tensor:
    """Returns the mean binary cross-entropy of all classes over the cells that boxes cover.

    Zero if no cell is covered, where the mean of nothing would be NaN.

    Args:
        score_map: (B, K, h', w') logits, at any resolution; resized bilinearly to stride 4.
        boxes: see :func:`box_raster`.
        labels: see :func:`box_raster`.
        image_size: (height, width) of the padded batch.

    Source: DenseCLIP (arXiv 2112.01518), released detection code, which takes the sigmoid first;
    the logits' own form agrees with it and holds in half precision, too.
    """
    target, mask = box_raster(boxes, labels, score_map.shape[1], image_size)
    logits = F.interpolate(
        score_map.float(), target.shape[-2:], mode='bilinear', align_corners=False
    )
    terms = F.binary_cross_entropy_with_logits(logits, target, reduction='none') * mask
    # The smallest covered area is one cell: a floor of 1 changes nothing but 0 / 0.
    return terms.sum() / (mask.sum() * score_map.shape[1]).clamp(min=1)
