"""Parity with Trident's refinement by SAM: regions, prompts, masks and fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovseg.encoders.prompted_sam import Decoded, PromptedSAM, Prompts, SAMImage
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import SAMEncoder, resize_to_multiple
from ovseg.refiners.label_regions import Regions, find_regions
from ovseg.refiners.mask_fusion import decide_labels, largest_of_class, mask_scores, restore_failed
from ovseg.refiners.sam_prompts import SAMPrompts, region_masks
from ovseg.scores.coarse_map import STRIPS, CoarseMap, coarse_map
from ovseg.scores.row_map import RowMap, WindowMaps
from parity.golden import read, saved
from parity.report import EXACT, LABELS, Case, Tolerance
from parity.trident.model import refinement_settings, spatial

PROBABILITIES = Tolerance(atol=1e-3)
COORDINATES = Tolerance(atol=1e-3)
MASK_INPUTS = Tolerance(atol=1e-5)  # probabilities times mask_scale
IOU = Tolerance(atol=1e-4)
LOGITS = Tolerance(atol=1e-3)
# Sums and counts over a whole map: a few pixels lie on the other side of a threshold.
TOTALS = Tolerance(atol=1e-2, rtol=1e-3)
# Probabilities this near to each other are equal: which is larger hangs on the order of sums.
_TIE = 1e-5
_PATCH = 16  # sides that the image is stretched to are multiples of CLIP's patch


def _given(probabilities: Tensor) -> WindowMaps:
    """Class probabilities (K, H, W) that are there already."""
    size = (probabilities.shape[1], probabilities.shape[2])
    return WindowMaps(probabilities[None], [(0, 0, *size)], size)


def check_regions(case: Case) -> None:
    """Regions, boxes and points of a small map."""
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
    _compare_regions(case, regions, coarse)
    scores = case.inner('scores')
    for label in scores:
        means = [
            probabilities[label][regions.numbers == int(number) + 1].mean()
            for number in (regions.classes == label).nonzero()
        ]
        ours = torch.stack(means) if means else torch.empty(0)
        scores.compare(PROBABILITIES, {label: ours})


def check_fusion(case: Case) -> None:
    """Masks of several classes made one map, failed regions restored."""
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
    coarse = probabilities.argmax(dim=0)
    _, first = decide_labels(class_scores, classes, torch.zeros_like(coarse))
    labels = decide_labels(class_scores, classes, coarse)[1][None]
    failed = case['failed_regions'].any(dim=0)
    final = restore_failed(scores, probabilities, failed)
    case.compare(PROBABILITIES, fused_logits=scores, final_logits=final)
    # Restoring changes scores only; the released code's labels stay, too.
    case.compare(EXACT, fused_pred=first[None], filled_pred=labels, final_pred=labels)


@torch.no_grad()
def check_stage_refine(file: Case, folder: Path) -> None:
    """``stage_refine.pt``: the whole refinement from given probabilities."""
    config, inputs = file.inner('config'), file['inputs']
    config.use('num_classes')
    # Few prompts at once, so that the cases go through several batches.
    refiner = SAMPrompts(**refinement_settings(config), prompt_batch=4)
    weights = read(folder / config['weights_sam'])
    with saved(sam=weights['state_dict']) as files:
        sam = SAMEncoder(load_sam(weights['config'], files['sam']))
    pixels = resize_to_multiple(inputs['image_rgb_uint8'].numpy(), _PATCH)
    size = tuple(pixels.shape[:2])
    config.compare(EXACT, sam_input_hw=list(size))
    with torch.inference_mode():
        image = sam.embed(pixels)
    labels, scores = inputs['coarse_pred'][0].long(), _given(inputs['probs'])
    regions = refiner.regions(labels, scores)
    prompts = refiner.prompts(sam, regions, scores)
    decoded = sam.decode(image, prompts, refiner.prompt_batch)
    everything = torch.ones_like(regions.classes, dtype=torch.bool)
    masks = region_masks(sam, image, decoded, regions, everything)
    masks = masks.at(size).rows(0, size[0]) > sam.mask_threshold
    for index, call in enumerate(file.cases('calls')):
        # A call is a class that has regions, in order.
        mine = prompts.mask_index == index
        _compare_call(call, prompts, decoded, mine)
        call.compare(LABELS, masks=masks[mine][:, None])
    refined, outputs = refiner(sam, image, labels, scores, with_scores=True), file.inner('outputs')
    outputs.compare(LABELS, refined_pred=refined.labels[None])
    outputs.compare(PROBABILITIES, refined_logits=refined.scores)
    if len(refined.iou) or not _says_nothing(outputs):
        outputs.compare(IOU, scores=refined.iou[:, None])
        outputs.compare(EXACT, boxes_fullres=refined.boxes)


def _says_nothing(outputs: Case) -> bool:
    """Whether the reference kept no mask: it then gives None and an empty list."""
    kept = [outputs[key] for key in ('scores', 'boxes_fullres') if key in outputs]
    return all(value is None or len(value) == 0 for value in kept)


@torch.inference_mode()
def compare_refinement(
    case: Case,
    refiner: SAMPrompts,
    sam: PromptedSAM,
    image: SAMImage,
    labels: Tensor,
    scores: RowMap,
) -> None:
    """``case_*.pt``: all of ``refine``, from coarse labels of ours."""
    case.compare(PROBABILITIES, probs_s2=spatial(scores.whole(STRIPS), 2))
    coarse, regions = coarse_map(labels, scores), refiner.regions(labels, scores)
    case.compare(EXACT, classes=regions.classes.unique().tolist())
    _compare_regions(case, regions, coarse)
    prompts = refiner.prompts(sam, regions, scores)
    calls = case.cases('predict')
    counts = [call.wanted('mask_input_nnz') for call in calls]
    if len(counts) == len(prompts.masks):
        limits = (refiner.coarse_threshold + tie for tie in (_TIE, -_TIE))
        certain, possible = (
            replace(refiner, coarse_threshold=max(limit, 0)).prompts(sam, regions, scores).masks
            for limit in limits
        )
        prompts = replace(prompts, masks=_settled(certain, possible, counts))
    decoded = sam.decode(image, prompts, refiner.prompt_batch)
    for label, call in zip(case.wanted('classes'), calls, strict=True):
        _compare_call(call, prompts, decoded, regions.classes == label)
    good = decoded.iou > refiner.iou_threshold
    case.compare(EXACT, n_failed=int((~good).sum()))
    if 'pre_map_masks_shape' in case:  # at least one mask was kept
        size = scores.size
        masks = region_masks(sam, image, decoded, regions, good).at(size).rows(0, size[0])
        case.compare(EXACT, pre_map_masks_shape=list(masks[:, None].shape))
        areas = (masks > sam.mask_threshold).sum(dim=(1, 2))
        share = Tolerance(atol=LABELS.share * size[0] * size[1])
        case.compare(share, pre_map_mask_areas=areas)


def _compare_regions(case: Case, regions: Regions, coarse: CoarseMap) -> None:
    masks, boxes, points = (case.inner(key) for key in ('regions', 'boxes', 'points'))
    for label in masks:
        mine = (regions.classes == label).nonzero()[:, 0]
        masks.compare(EXACT, {label: regions.numbers == mine[:, None, None] + 1})
        boxes.compare(EXACT, {label: regions.boxes[mine]})
        theirs = points.wanted(label)
        ours = _without_ties(regions.points[mine], theirs, coarse.confidence)
        points.compare(EXACT, {label: ours})


def _without_ties(ours: Tensor, theirs: Tensor | list, confidence: Tensor) -> Tensor:
    """Our points (n, 2), or theirs where both are as good."""
    if not isinstance(theirs, Tensor) or ours.shape != theirs.shape:
        return ours
    values = [confidence[points[:, 1], points[:, 0]] for points in (ours, theirs)]
    tied = (values[0] - values[1]).abs() <= _TIE
    return torch.where(tied[:, None], theirs, ours)


def _settled(certain: Tensor, possible: Tensor, counts: Sequence[int]) -> Tensor:
    """Mask inputs whose pixels at the threshold are in or out as the reference has them.

    A single such pixel moves the IoU that SAM estimates by 2e-4, more than is allowed.
    """
    settled = certain.clone()
    for mask, more, count in zip(settled.flatten(1), possible.flatten(1), counts, strict=True):
        undecided = more.where(mask == 0, 0)
        missing = count - int((mask != 0).sum())
        if 0 < missing <= int((undecided != 0).sum()):
            added = undecided.topk(missing).indices
            mask[added] = more[added]
    return settled


def _compare_call(call: Case, prompts: Prompts, decoded: Decoded, mine: Tensor) -> None:
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
    for key in call:
        if key in quantities:
            ours, tolerance = quantities[key]
            call.compare(tolerance, {key: ours})
