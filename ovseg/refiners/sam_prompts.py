"""Coarse labels with sharp boundaries: SAM is told where each region lies, not what it is.

Each connected region of the coarse labels becomes a point, a box and a mask prompt. SAM's masks of
them, weighted by the coarse probabilities, decide the labels again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.sam_encoder import FrameResize, SAMImage
from ovseg.errors import UserError
from ovseg.refiners.label_regions import Regions, find_regions
from ovseg.refiners.mask_fusion import RegionMasks, fuse_masks
from ovseg.registry import MODELS
from ovseg.scores.coarse_map import STRIPS, at_half_size, coarse_map, half_size
from ovseg.scores.decide import check_scores
from ovseg.scores.row_map import RowMap, resized

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Prompts:
    """What SAM is told about n regions, in pixels of its padded frame.

    Attributes:
        points: (n, 1, 2), (x, y).
        boxes: (n, 4), (x1, y1, x2, y2).
        masks: (m, 1, s, s), a mask input for each of the m classes that have regions; None for
            none.
        mask_index: (n,) int64, ascending: which mask input is a region's.
    """

    points: Tensor
    boxes: Tensor
    masks: Tensor | None
    mask_index: Tensor


@dataclass(frozen=True)
class Decoded:
    """What SAM answered to n prompts.

    Attributes:
        low_res: (n, s, s), the masks' logits on the padded frame, at the size of a mask input.
        iou: (n,), how well each mask fits by SAM's own estimate.
    """

    low_res: Tensor
    iou: Tensor


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
        sam: Sam,
        image: SAMImage,
        labels: Tensor,
        shares: RowMap,
        with_scores: bool = False,
    ) -> Refinement:
        """Returns the refined labels; the coarse ones where SAM has no good mask.

        Args:
            sam: segment-anything's model; only its prompt encoder and mask decoder run, in float32.
            image: what its image encoder left of the image.
            labels: (H, W) int64 coarse labels in [0, K).
            shares: class probabilities at (H, W).
            with_scores: whether (K, H, W) scores are returned, too.
        """
        if min(half_size(shares.size)) == 0:
            return _unrefined(labels, shares, with_scores)
        regions = self.regions(labels, shares)
        decoded = decode(sam, image, self.prompts(sam, regions, shares), self.prompt_batch)
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

    def prompts(self, sam: Sam, regions: Regions, shares: RowMap) -> Prompts:
        """The prompts of regions.

        Args:
            sam: says how large its frame and its mask inputs are.
            regions: from :meth:`regions`.
            shares: class probabilities; read only if there are regions.
        """
        half = half_size(shares.size)
        to_frame = FrameResize(sam.image_encoder.img_size)
        classes, mask_index = regions.classes.unique_consecutive(return_inverse=True)
        masks = None
        if self.mask_scale is not None:
            size = sam.prompt_encoder.mask_input_size
            masks = self._mask_inputs(classes, shares, size, self.mask_scale)
        return Prompts(
            to_frame.apply_coords_torch(regions.points[:, None], half),
            to_frame.apply_boxes_torch(regions.boxes, half),
            masks,
            mask_index,
        )

    def _mask_inputs(
        self, classes: Tensor, shares: RowMap, size: tuple[int, int], scale: float
    ) -> Tensor:
        """(len(classes), 1, *size): scaled probabilities of classes, 0 beyond the image."""
        masks = torch.zeros(len(classes), 1, *size, device=classes.device)
        if len(classes) == 0:
            return masks
        # The output's own shape, not that of its half: a side may differ by one.
        shape = FrameResize.get_preprocess_shape(*shares.size, max(size))
        inputs = resized(at_half_size(shares), shape)
        values = shares.channels * shares.size[1] * (shares.size[0] / shape[0])
        for start, stop in STRIPS.strips(shape[0], _FLOAT_BYTES * values):
            rows = inputs.rows(start, stop, classes)
            kept = torch.where(rows > self.coarse_threshold, scale * rows, 0.0)
            masks[:, 0, start:stop, : shape[1]] = kept
        return masks


def decode(sam: Sam, image: SAMImage, prompts: Prompts, prompt_batch: int) -> Decoded:
    """Returns SAM's masks of all prompts, whatever their classes, some prompts at a time.

    Args:
        sam: the model.
        image: the image that the prompts are about.
        prompts: n of them; without any, nothing runs.
        prompt_batch: prompts at once.
    """
    encoder, count = sam.prompt_encoder, len(prompts.points)
    low_res = image.features.new_empty(count, *encoder.mask_input_size, dtype=torch.float32)
    iou = image.features.new_empty(count, dtype=torch.float32)
    # Coordinates and logits want float32: upstream, too, runs these two small parts in it.
    with torch.autocast(image.features.device.type, enabled=False):
        features, positions = image.features.float(), encoder.get_dense_pe()
        for start in range(0, count, prompt_batch):
            part = slice(start, min(start + prompt_batch, count))
            points, boxes = prompts.points[part], prompts.boxes[part]
            foreground = torch.ones(points.shape[:2], device=points.device)
            sparse, dense = encoder(points=(points, foreground), boxes=boxes, masks=None)
            # Regions of a class share its mask input: it is embedded once and repeated.
            if prompts.masks is not None:
                index = prompts.mask_index[part]
                first = int(index[0])
                held = prompts.masks[first : int(index[-1]) + 1]
                dense = _embedded_masks(sam, held)[index - first]
            logits, estimates = sam.mask_decoder(
                image_embeddings=features,
                image_pe=positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            low_res[part], iou[part] = logits[:, 0], estimates[:, 0]
    return Decoded(low_res, iou)


def _embedded_masks(sam: Sam, masks: Tensor) -> Tensor:
    """(m, 1, s, s) mask inputs -> (m, D, g, g).

    Each goes in without a batch dimension, as in Trident's released code. This decides its numbers:
    segment-anything's norms then run over the rows of a map instead of its channels.
    """
    embedded = [sam.prompt_encoder(points=None, boxes=None, masks=mask)[1] for mask in masks]
    return torch.stack(embedded)


def region_masks(
    sam: Sam, image: SAMImage, decoded: Decoded, regions: Regions, good: Tensor
) -> RegionMasks:
    """The masks of the regions that are kept.

    Args:
        sam: the model.
        image: the image.
        decoded: of all regions.
        regions: all regions.
        good: (n,) bool, which are kept; at least one.
    """
    return RegionMasks(
        decoded.low_res[good],
        regions.classes[good],
        sam.image_encoder.img_size,
        image,
        sam.mask_threshold,
    )


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
