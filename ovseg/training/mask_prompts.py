"""Prompts that stand for a person's clicks and boxes, or for a coarse segmentation, of a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Prompts:
    """Prompts for M masks of one picture, in pixels of SAM's frame (x right, y down).

    Attributes:
        points: (M, N, 2) as (x, y), or None.
        labels: (M, N), 1 inside and 0 outside of what is meant; None with ``points``.
        boxes: (M, 4) xyxy, or None.
        masks: (M, 1, 4h, 4w) logits on four times the patch grid, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def with_points(self, points: Tensor, labels: Tensor, masks: Tensor) -> Prompts:
        """Returns these prompts with one more point each, and other mask prompts.

        Args:
            points: (M, 2).
            labels: (M,).
            masks: (M, 1, 4h, 4w).
        """
        points, labels = points[:, None], labels[:, None]
        if self.points is not None and self.labels is not None:
            points = torch.cat([self.points, points], 1)
            labels = torch.cat([self.labels, labels], 1)
        return replace(self, points=points, labels=labels, masks=masks)


def random_points(region: Tensor, stride: int, generator: torch.Generator | None = None) -> Tensor:
    """Returns a random pixel of each region.

    Args:
        region: (M, H, W) bool, none of them empty.
        stride: pixels of the frame for each pixel of a region.
        generator: chooses.

    Returns:
        (M, 2) as (x, y) in pixels of the frame.
    """
    chosen = torch.multinomial(region.flatten(1).float(), 1, generator=generator)[:, 0]
    within = torch.randint(0, stride, (len(region), 2), generator=generator, device=region.device)
    return _position(chosen, region.shape[-1]) * stride + within


def error_points(
    predicted: Tensor, target: Tensor, stride: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Returns a random pixel of where a prediction is wrong, and what is right there.

    Where nothing is wrong, it is a pixel of the mask itself.

    Args:
        predicted: (M, H, W) bool.
        target: (M, H, W) bool, none of them empty.
        stride: pixels of the frame for each pixel of a mask.
        generator: chooses.

    Returns:
        Points (M, 2) as (x, y) in pixels of the frame, and labels (M,) in {0, 1}.

    Source: Segment Anything (arXiv 2304.02643) appendix A, "Training algorithm".
    """
    error = predicted ^ target
    faultless = ~error.flatten(1).any(1)
    error = torch.where(faultless[:, None, None], target, error)
    points = random_points(error, stride, generator)
    x, y = (points // stride).unbind(1)
    labels = target[torch.arange(len(target), device=target.device), y, x]
    return points, labels.long()


def boxes_around(masks: Tensor, stride: int) -> Tensor:
    """Returns the box of each mask: its outermost pixels in the frame, themselves inside.

    Args:
        masks: (M, H, W) bool, none of them empty.
        stride: pixels of the frame for each pixel of a mask.

    Returns:
        (M, 4) xyxy, float.

    Example:
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> mask[0, 1, 1:3] = True
        >>> boxes_around(mask, 2)
        tensor([[2., 2., 5., 3.]])
    """
    sides = []
    for axis in (1, 2):  # columns, then rows, that hold something
        used = masks.any(axis).float()
        first = used.argmax(1)
        last = used.shape[1] - 1 - used.flip(1).argmax(1)
        sides.append((first * stride, (last + 1) * stride - 1))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], 1).float()


def noised_boxes(
    boxes: Tensor,
    share: float,
    limit: float,
    frame: tuple[int, int],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns boxes whose four sides are moved by normal noise, within the frame.

    Args:
        boxes: (M, 4) xyxy.
        share: standard deviation of the noise, as a share of the box's width or height.
        limit: largest move in pixels.
        frame: (height, width) in pixels.
        generator: draws the noise.

    Source: Segment Anything (arXiv 2304.02643) appendix A: a share of 0.1, at most 20 pixels of
    1024.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(boxes.shape, generator=generator, device=boxes.device)
    moved = boxes + (noise * share * size).clamp(-limit, limit)
    top = torch.tensor([frame[1] - 1, frame[0] - 1] * 2, device=boxes.device)
    moved = torch.minimum(moved.clamp(min=0), top)
    # A thin box can turn over.
    return torch.cat([torch.minimum(moved[:, :2], moved[:, 2:]), moved[:, 2:]], 1)


def coarse_scores(
    masks: Tensor, cells: int, noise: float, generator: torch.Generator | None = None
) -> Tensor:
    """Returns scores such as a classifier of patches gives: cells of a coarse grid, noised.

    Args:
        masks: (M, H, W) bool.
        cells: of the grid along each side.
        noise: standard deviation of the noise of a cell; half of it moves the whole mask's scores
            up or down, so that some are too large and some too small.
        generator: draws the noise.

    Returns:
        (M, H, W) in [0, 1], interpolated between cells.
    """
    share = F.adaptive_avg_pool2d(masks[:, None].float(), cells)
    shape = (len(masks), 1, 1, 1)
    wrong = torch.randn(share.shape, generator=generator, device=masks.device)
    shift = torch.randn(shape, generator=generator, device=masks.device) / 2
    # Far from the object a classifier seldom errs: noise counts where something of it is near.
    near = F.max_pool2d(share, 3, stride=1, padding=1)
    scores = (share + noise * near * (wrong + shift)).clamp(0, 1)
    size = tuple(masks.shape[-2:])
    return F.interpolate(scores, size, mode='bilinear', align_corners=False)[:, 0]


def coarse_prompts(
    masks: Tensor,
    stride: int,
    strength: float = 0.005,
    generator: torch.Generator | None = None,
) -> tuple[Prompts, Tensor]:
    """Returns what a coarse segmentation asks with: box, point and a weak mask prompt.

    The box surrounds the coarse mask and is then moved, the point is where its score is highest,
    and the mask prompt holds the score times `strength` wherever the score counts, half of the
    times also that of another mask (the same class elsewhere in the picture).

    Args:
        masks: (M, H, W) bool, none of them empty; the size of a mask prompt.
        stride: pixels of the frame for each pixel of a mask.
        strength: of the mask prompt. SAM expects logits, so 0.005 says hardly more than where.
        generator: draws everything.

    Returns:
        The prompts, and the coarse masks (M, H, W) that they stand for.

    Source: Trident (arXiv 2411.09219), refinement of the coarse prediction by SAM.
    """

    def uniform(low: float, high: float, *size: int) -> Tensor:
        drawn = torch.rand(size, generator=generator, device=masks.device)
        return low + (high - low) * drawn

    side = max(masks.shape[-2:])
    cells = max(1, int(side * uniform(0.12, 0.3)))
    scores = coarse_scores(masks, cells, noise=0.25, generator=generator)
    area = scores > 0.5
    # A mask finer than the grid has no cell of its own.
    area = torch.where(area.flatten(1).any(1)[:, None, None], area, masks)
    # Scores at the upper end are alike; which of them is highest is chance.
    best = (area * (scores + uniform(0, 0.1, *scores.shape))).flatten(1).argmax(1)
    points = _position(best, masks.shape[-1]) * stride + stride // 2
    frame = (stride * masks.shape[-2], stride * masks.shape[-1])
    boxes = noised_boxes(boxes_around(area, stride), 0.08, frame[0] * 0.1, frame, generator)
    with_other = uniform(0, 1, len(masks), 1, 1) < 0.5
    told = torch.where(with_other, torch.maximum(scores, scores.roll(1, 0)), scores)
    told = told * uniform(0.4, 1.0, len(masks), 1, 1)
    told = torch.where(told > 0.2, told, 0.0)
    labels = torch.ones(len(masks), 1, dtype=torch.long, device=masks.device)
    return Prompts(points[:, None], labels, boxes, strength * told[:, None]), area


def _position(flat: Tensor, width: int) -> Tensor:
    """(M, 2) as (x, y) of indices (M,) into flattened maps."""
    return torch.stack([flat % width, flat // width], 1)
