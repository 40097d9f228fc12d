"""Parity with Trident's refinement by SAM: regions, prompts, masks and fusion."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor

from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import SAMEncoder, resize_to_multiple
from ovseg.encoders.sam_image import SAMImage
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.parity.trident_files import read_golden, spatial
from ovseg.refiners.label_regions import Regions, find_regions
from ovseg.refiners.mask_fusion import (
    decide_labels,
    largest_of_class,
    mask_scores,
    restore_failed,
)
from ovseg.refiners.sam_prompts import Decoded, Prompts, SAMPrompts, decode, region_masks
from ovseg.scores.coarse_map import CoarseMap, CoarseScores, all_rows, coarse_map

PROBABILITIES = Tolerance(atol=1e-3)
COORDINATES = Tolerance(atol=1e-3)
MASK_INPUTS = Tolerance(atol=1e-5)  # probabilities times mask_scale
IOU = Tolerance(atol=1e-4)
LOGITS = Tolerance(atol=1e-3)
LABELS = Tolerance(share=0.001)
# Sums and counts over a whole map: a few pixels lie on the other side of a threshold.
TOTALS = Tolerance(atol=1e-2, rtol=1e-3)
# Probabilities this near to each other are equal: which is larger hangs on the order of sums.
_TIE = 1e-5
_PATCH = 16  # sides that the image is stretched to are multiples of CLIP's patch


def _refiner(config: dict[str, Any]) -> SAMPrompts:
    """The refiner of a golden case's settings."""
    return SAMPrompts(
        coarse_threshold=config['coarse_thresh'],
        min_area=config['minimal_area'],
        mask_scale=config['sam_mask_coff'],
        iou_threshold=config['sam_iou_thresh'],
        prompt_batch=4,  # small, so that the cases go through several batches
    )


def _golden_sam(folder: Path) -> SAMEncoder:
    """The image side of the golden SAM, through the loader of published files."""
    content = read_golden(folder / 'weights_sam.pt')
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / 'sam.pth'
        torch.save(content['state_dict'], path)
        return SAMEncoder(load_sam(content['config'], path))


class _GivenScores:
    """Class probabilities (K, H, W) that are there already."""

    def __init__(self, probabilities: Tensor) -> None:
        self.num_classes = len(probabilities)
        self.size = tuple(probabilities.shape[1:])
        self._probabilities = probabilities

    def rows(self, start: int, stop: int) -> Tensor:
        """(K, stop - start, W)."""
        return self._probabilities[:, start:stop]


def check_units_regions(report: Report) -> None:
    """``units.pt``: regions, boxes and points of small maps."""
    for index, case in enumerate(report.content['regions']):
        name = f'regions.{index}'
        settings = ('probs', 'seg', 'minimal_area', 'coarse_thresh', 'num_classes')
        report.use(*(f'{name}.{key}' for key in settings))
        probabilities = case['probs']
        # The reference marks unsure pixels by one more class; ours goes by their probability.
        labels = case['seg'][0].long().clamp(max=case['num_classes'] - 1)
        coarse = CoarseMap(
            labels,
            probabilities.gather(0, labels[None])[0],
            probabilities.amax(dim=0),
            probabilities.amax(dim=(1, 2)),
        )
        regions = find_regions(coarse, case['coarse_thresh'], case['minimal_area'])
        _compare_regions(report, name, case, regions, coarse)
        for label, theirs in case['scores'].items():
            means = [
                probabilities[label][regions.numbers == int(number) + 1].mean()
                for number in (regions.classes == label).nonzero()
            ]
            ours = torch.stack(means) if means else torch.empty(0)
            report.compare(f'{name}.scores.{label}', ours, theirs, PROBABILITIES)


def check_units_fusion(report: Report) -> None:
    """``units.pt``: masks of several classes made one map, failed regions restored."""
    case = report.content['fusion']
    inputs = ('masks', 'sigmoid_logits', 'regions_per_class', 'seg_probs', 'failed_regions')
    report.use(*(f'fusion.{key}' for key in inputs))
    counts = torch.tensor(case['regions_per_class'])
    classes = counts.nonzero()[:, 0]
    regions_of_class = counts[classes].tolist()
    probabilities = case['seg_probs']
    class_scores = mask_scores(
        largest_of_class(case['sigmoid_logits'][:, 0], regions_of_class),
        largest_of_class(case['masks'][:, 0], regions_of_class),
        probabilities[classes],
    )
    scores = torch.zeros_like(probabilities)
    scores[classes] = class_scores
    report.compare('fusion.fused_logits', scores, case['fused_logits'], PROBABILITIES)
    coarse = probabilities.argmax(dim=0)
    first = decide_labels(class_scores, classes, torch.zeros_like(coarse))
    report.compare('fusion.fused_pred', first[None], case['fused_pred'], EXACT)
    labels = decide_labels(class_scores, classes, coarse)
    report.compare('fusion.filled_pred', labels[None], case['filled_pred'], EXACT)
    # Restoring changes scores only; the released code's labels stay, too.
    report.compare('fusion.final_pred', labels[None], case['final_pred'], EXACT)
    failed = case['failed_regions'].any(dim=0)
    final = restore_failed(scores, probabilities, failed)
    report.compare('fusion.final_logits', final, case['final_logits'], PROBABILITIES)


@torch.inference_mode()
def check_stage_refine(report: Report, folder: Path) -> None:
    """``stage_refine.pt``: the whole refinement from given probabilities."""
    config, inputs = report.content['config'], report.content['inputs']
    outputs = report.content['outputs']
    report.use('inputs', *(f'config.{key}' for key in config if key != 'sam_input_hw'))
    encoder, refiner = _golden_sam(folder), _refiner(config)
    pixels = resize_to_multiple(inputs['image_rgb_uint8'].numpy(), _PATCH)
    size = list(pixels.shape[:2])
    report.compare('config.sam_input_hw', size, config['sam_input_hw'], EXACT)
    sam, image = encoder.sam, _encoded_image(encoder, pixels)
    labels, scores = inputs['coarse_pred'][0].long(), _GivenScores(inputs['probs'])
    regions = refiner.regions(labels, scores)
    prompts = refiner.prompts(sam, regions, scores)
    decoded = decode(sam, image, prompts, refiner.prompt_batch)
    everything = torch.ones_like(regions.classes, dtype=torch.bool)
    masks = region_masks(sam, image, decoded, regions, everything)
    masks = masks.rows(tuple(size), 0, size[0]) > sam.mask_threshold
    for index, call in enumerate(report.content['calls']):
        # A call is a class that has regions, in order.
        mine = prompts.mask_index == index
        _compare_call(report, f'calls.{index}', call, prompts, decoded, mine)
        report.compare(f'calls.{index}.masks', masks[mine][:, None], call['masks'], LABELS)
    refined = refiner(sam, image, labels, scores, with_scores=True)
    report.compare('outputs.scores', refined.iou[:, None], outputs['scores'], IOU)
    report.compare('outputs.boxes_fullres', refined.boxes, outputs['boxes_fullres'], EXACT)
    report.compare('outputs.refined_pred', refined.labels[None], outputs['refined_pred'], LABELS)
    theirs = outputs['refined_logits']
    report.compare('outputs.refined_logits', refined.scores, theirs, PROBABILITIES)


@torch.inference_mode()
def _encoded_image(encoder: SAMEncoder, pixels: np.ndarray) -> SAMImage:
    """One whole image as the mask decoder reads it.

    Args:
        encoder: the image side of a SAM.
        pixels: (H, W, 3) uint8 RGB.
    """
    frame = encoder.prepare(pixels)
    tokens = encoder.trunk(frame)
    mixed = encoder.last_attention(tokens).apply(encoder.queries_at_once())
    return SAMImage(encoder.embedding(tokens, mixed), frame.input_size, frame.image_size)


@torch.inference_mode()
def compare_refinement(
    report: Report,
    case: Mapping[str, Any],
    refiner: SAMPrompts,
    sam: Sam,
    image: SAMImage,
    labels: Tensor,
    scores: CoarseScores,
) -> None:
    """``case_*.pt``: all of ``refine``, from coarse labels of ours.

    Args:
        report: of the case.
        case: its content.
        refiner: with the case's settings.
        sam: the golden SAM.
        image: what its image encoder left of the case's image.
        labels: (H, W) int64 coarse labels.
        scores: class probabilities.
    """
    golden = case['refine']
    probabilities = spatial(all_rows(scores), 2)
    report.compare('refine.probs_s2', probabilities, golden['probs_s2'], PROBABILITIES)
    coarse, regions = coarse_map(labels, scores), refiner.regions(labels, scores)
    classes = regions.classes.unique().tolist()
    report.compare('refine.classes', classes, list(golden['classes']), EXACT)
    _compare_regions(report, 'refine', golden, regions, coarse)
    prompts = refiner.prompts(sam, regions, scores)
    counts = [call['mask_input_nnz'] for call in golden['predict']]
    if len(counts) == len(prompts.masks):
        limits = (refiner.coarse_threshold + tie for tie in (_TIE, -_TIE))
        certain, possible = (
            replace(refiner, coarse_threshold=max(limit, 0)).prompts(sam, regions, scores).masks
            for limit in limits
        )
        prompts = replace(prompts, masks=_settled(certain, possible, counts))
    decoded = decode(sam, image, prompts, refiner.prompt_batch)
    for index, (label, call) in enumerate(zip(golden['classes'], golden['predict'], strict=True)):
        mine = regions.classes == label
        _compare_call(report, f'refine.predict.{index}', call, prompts, decoded, mine)
    good = decoded.iou > refiner.iou_threshold
    report.compare('refine.n_failed', int((~good).sum()), golden['n_failed'], EXACT)
    if 'pre_map_masks_shape' in golden:  # at least one mask was kept
        size = scores.size
        masks = region_masks(sam, image, decoded, regions, good).rows(size, 0, size[0])
        shape = list(masks[:, None].shape)
        report.compare('refine.pre_map_masks_shape', shape, golden['pre_map_masks_shape'], EXACT)
        areas = (masks > sam.mask_threshold).sum(dim=(1, 2))
        theirs = golden['pre_map_mask_areas'].float()
        share = Tolerance(atol=LABELS.share * size[0] * size[1])
        report.compare('refine.pre_map_mask_areas', areas.float(), theirs, share)


def _compare_regions(
    report: Report, name: str, golden: dict[str, Any], regions: Regions, coarse: CoarseMap
) -> None:
    for label in golden['regions']:
        mine = (regions.classes == label).nonzero()[:, 0]
        masks = regions.numbers == mine[:, None, None] + 1
        report.compare(f'{name}.regions.{label}', masks, golden['regions'][label], EXACT)
        boxes = regions.boxes[mine]
        report.compare(f'{name}.boxes.{label}', boxes, golden['boxes'][label], EXACT)
        theirs = golden['points'][label]
        points = _without_ties(regions.points[mine], theirs, coarse.confidence)
        report.compare(f'{name}.points.{label}', points, theirs, EXACT)


def _without_ties(ours: Tensor, theirs: Tensor, confidence: Tensor) -> Tensor:
    """Our points (n, 2), or theirs where both are as good."""
    if ours.shape != theirs.shape:
        return ours
    values = [confidence[points[:, 1], points[:, 0]] for points in (ours, theirs)]
    tied = (values[0] - values[1]).abs() <= _TIE
    return torch.where(tied[:, None], theirs, ours)


def _settled(certain: Tensor, possible: Tensor, counts: Sequence[int]) -> Tensor:
    """Mask inputs whose pixels at the threshold are in or out as the reference has them.

    A single such pixel moves the IoU that SAM estimates by 2e-4, more than is allowed.

    Args:
        certain: (m, 1, s, s), with pixels that are above the threshold by more than a tie.
        possible: (m, 1, s, s), also with those that are below it by no more than that.
        counts: how many pixels of each the reference has.
    """
    settled = certain.clone()
    for mask, more, count in zip(settled.flatten(1), possible.flatten(1), counts, strict=True):
        undecided = more.where(mask == 0, 0)
        missing = count - int((mask != 0).sum())
        if 0 < missing <= int((undecided != 0).sum()):
            added = undecided.topk(missing).indices
            mask[added] = more[added]
    return settled


def _compare_call(
    report: Report,
    name: str,
    golden: dict[str, Any],
    prompts: Prompts,
    decoded: Decoded,
    mine: Tensor,
) -> None:
    """Compares one class's call of the reference with our prompts and answers of that class."""
    low_res = decoded.low_res[mine][:, None]
    mask_input = prompts.masks[prompts.mask_index[mine].unique()][:, 0]
    quantities = {
        'point_coords': (prompts.points[mine], COORDINATES),
        'point_labels': (torch.ones(int(mine.sum()), 1), EXACT),
        'boxes': (prompts.boxes[mine], COORDINATES),
        'iou': (decoded.iou[mine][:, None], IOU),
        'low_res_s8': (spatial(low_res, 8), LOGITS),
        'low_res_sum': (low_res.double().sum(), TOTALS),
        'mask_input_s4': (spatial(mask_input, 4), MASK_INPUTS),
        'mask_input_sum': (mask_input.double().sum(), TOTALS),
        'mask_input_nnz': ((mask_input != 0).sum(), EXACT),
    }
    for key, theirs in golden.items():
        if key == 'masks':  # compared by those who have the image's size
            continue
        ours, tolerance = quantities[key]
        if not isinstance(theirs, Tensor):
            theirs = torch.tensor(theirs, dtype=ours.dtype)
        report.compare(f'{name}.{key}', ours, theirs, tolerance)
