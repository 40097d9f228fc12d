"""Coarse labels with sharp boundaries: SAM is told where each region lies, not what it is.

Each connected region of the coarse labels becomes a point, a box and a mask prompt. SAM's masks of
them, weighted by the coarse probabilities, decide the labels again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.prompted_sam import Decoded, PromptedSAM, Prompts, SAMImage, to_frame
from ovseg.errors import UserError
from ovseg.refiners.label_regions import Regions, find_regions
from ovseg.refiners.mask_fusion import RegionMasks, fuse_masks
from ovseg.registry import MODELS
from ovseg.scores.coarse_map import STRIPS, at_half_size, coarse_map, half_size
from ovseg.scores.decide import check_scores
from ovseg.scores.row_map import RowMap, resized

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Refinement:
    """The refined image.

    Attributes:
        labels: (H, W) int64.
        own: (H, W) float32, the score of each pixel's own label; None where no mask was good enough
            and nothing was refined.
        scores: (K, H, W), or None if not asked for. A class without masks has 0. If no mask at all
            was good enough, these are the coarse probabilities.
        boxes: (n, 4), the boxes whose masks were used, (x1, y1, x2, y2) in output pixels.
        iou: (n,), SAM's estimates for these masks.
    """

    labels: Tensor
    own: Tensor | None
    scores: Tensor | None
    boxes: Tensor
    iou: Tensor


@MODELS.register_module()
@dataclass(frozen=True)
class SAMPrompts:
    """Refines the coarse labels of one image by a SAM.

    Attributes:
        coarse_threshold: in [0, 1]. Pixels and classes below this probability give no region, and
            mask inputs are 0 up to it; published 0.05 to 0.25, by data set.
        min_area: pixels at half size that a region must have; published 225.
        mask_scale: what the probabilities of a mask input are multiplied by; published 0.005. None
            leaves mask inputs out.
        iou_threshold: masks whose IoU SAM estimates not above it are not used; published 0.8. SAM's
            estimate is not bounded: any finite number divides masks.
        prompt_batch: prompts decoded at once; bounds the memory (about 35 MB each with a published
            SAM) and changes no result.

    Source: Trident (arXiv 2411.09219), its refinement by SAM, as in its released code.
    """

    coarse_threshold: float = 0.2
    min_area: int = 225
    mask_scale: float | None = 0.005
    iou_threshold: float = 0.8
    prompt_batch: int = 8

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not 0 <= self.coarse_threshold <= 1:
            raise UserError(
                f'SAMPrompts.coarse_threshold must lie in [0, 1], got {self.coarse_threshold}'
            )
        if not math.isfinite(self.iou_threshold):
            raise UserError(f'SAMPrompts.iou_threshold must be finite, got {self.iou_threshold}')
        for name, least in (('min_area', 0), ('mask_scale', 0), ('prompt_batch', 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f'SAMPrompts.{name} must be at least {least}, got {value}')

    @torch.no_grad()
    def __call__(
        self,
        sam: PromptedSAM,
        image: SAMImage,
        labels: Tensor,
        shares: RowMap,
        with_scores: bool = False,
    ) -> Refinement:
        """Returns the refined labels; the coarse ones where SAM has no good mask.

        Args:
            sam: of any version; only its prompt encoder and mask decoder run, in float32.
            image: what its image encoder left of the image.
            labels: (H, W) int64 coarse labels in [0, K).
            shares: class probabilities at (H, W).
            with_scores: whether (K, H, W) scores are returned, too.
        """
        if min(half_size(shares.size)) == 0:
            return _unrefined(labels, shares, with_scores)
        regions = self.regions(labels, shares)
        decoded = sam.decode(image, self.prompts(sam, regions, shares), self.prompt_batch)
        check_scores(decoded.iou)
        good = decoded.iou > self.iou_threshold
        if not good.any():
            return _unrefined(labels, shares, with_scores)
        masks = region_masks(sam, image, decoded, regions, good)
        fused = fuse_masks(masks, labels, shares, failed_area(regions, good), with_scores)
        # Twice the half size, as published: a pixel short of an odd side.
        boxes = 2 * regions.boxes[good].float()
        return Refinement(fused.labels, fused.own, fused.scores, boxes, decoded.iou[good])

    def regions(self, labels: Tensor, shares: RowMap) -> Regions:
        """The regions that become prompts, at half size.

        Args:
            labels: (H, W) int64, H and W at least 2.
            shares: class probabilities.
        """
        return find_regions(coarse_map(labels, shares), self.coarse_threshold, self.min_area)

    def prompts(self, sam: PromptedSAM, regions: Regions, shares: RowMap) -> Prompts:
        """The prompts of regions.

        Args:
            sam: says how large its frame and its mask inputs are.
            regions: from :meth:`regions`.
            shares: class probabilities; read only if there are regions.
        """
        half = half_size(shares.size)
        inside = sam.inside(half, sam.frame)
        classes, mask_index = regions.classes.unique_consecutive(return_inverse=True)
        masks = None
        if self.mask_scale is not None:
            masks = self._mask_inputs(sam, classes, shares, self.mask_scale)
        return Prompts(
            to_frame(regions.points[:, None], half, inside),
            to_frame(regions.boxes, half, inside),
            masks,
            mask_index,
        )

    def _mask_inputs(
        self, sam: PromptedSAM, classes: Tensor, shares: RowMap, scale: float
    ) -> Tensor:
        """(len(classes), 1, s, s): scaled probabilities of classes, 0 beyond the image."""
        side = sam.mask_side
        masks = torch.zeros(len(classes), 1, side, side, device=classes.device)
        if len(classes) == 0:
            return masks
        # The output's own shape, not that of its half: a side may differ by one.
        shape = sam.inside(shares.size, side)
        inputs = resized(at_half_size(shares), shape)
        values = shares.channels * shares.size[1] * (shares.size[0] / shape[0])
        for start, stop in STRIPS.strips(shape[0], _FLOAT_BYTES * values):
            rows = inputs.rows(start, stop, classes)
            kept = torch.where(rows > self.coarse_threshold, scale * rows, 0.0)
            masks[:, 0, start:stop, : shape[1]] = kept
        return masks


def region_masks(
    sam: PromptedSAM, image: SAMImage, decoded: Decoded, regions: Regions, good: Tensor
) -> RegionMasks:
    """The masks of the regions that are kept.

    Args:
        sam: the model.
        image: the image.
        decoded: of all regions.
        regions: all regions.
        good: (n,) bool, which are kept; at least one.
    """
    return RegionMasks(decoded.low_res[good], regions.classes[good], image, sam.mask_threshold)


def failed_area(regions: Regions, good: Tensor) -> Tensor | None:
    """(h, w) bool, the pixels of regions that are not kept; None if all are.

    Args:
        regions: all regions.
        good: (n,) bool, which are kept.
    """
    if good.all():
        return None
    return F.pad(~good, (1, 0))[regions.numbers]


def _unrefined(labels: Tensor, shares: RowMap, with_scores: bool) -> Refinement:
    nothing = torch.empty(0, device=labels.device)
    probabilities = shares.whole(STRIPS) if with_scores else None
    return Refinement(labels, None, probabilities, nothing.reshape(0, 4), nothing)
