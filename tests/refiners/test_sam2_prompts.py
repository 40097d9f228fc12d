"""Trident's refinement by SAM 2 equals its definition with transformers' own prediction path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from refinement_cases import assert_same, coarse_case, plain_fusion, plain_prompts
from tiny_sam2s import tiny_sam2
from torch.nn import functional as F

from ovseg.encoders.sam2_prompted import SAM2
from ovseg.refiners import SAMPrompts

# (output size, size that SAM saw)
SIZES = [((40, 56), (48, 64)), ((41, 37), (48, 48)), ((51, 34), (64, 48))]


@pytest.fixture(scope='module')
def sam():
    return SAM2(tiny_sam2(2))


def packages_answers(sam, image, labels, probabilities, settings):
    """[(class, region mask, box, iou, low-res logits)]: one call a class, by transformers alone."""
    from transformers import Sam2Processor

    processor, side = Sam2Processor(sam.processor), sam.mask_side
    pixels = processor(images=image, input_data_format='channels_last', return_tensors='pt')
    half, small, regions = plain_prompts(labels, probabilities, settings)
    answers = []
    for label in range(len(probabilities)):
        mine = [region for region in regions if region[0] == label]
        if not mine:
            continue
        prompt = None
        if settings.mask_scale is not None:
            prompt = F.interpolate(small[None, label : label + 1], (side, side), mode='bilinear')
            prompt = settings.mask_scale * prompt * (prompt > settings.coarse_threshold)
        # Regions are found at half size: to the processor an image of that size is prompted.
        given = processor(
            original_sizes=[half],
            input_points=[[[point] for *_, point in mine]],
            input_labels=[[[1] for _ in mine]],
            input_boxes=[[box for _, _, box, _ in mine]],
            return_tensors='pt',
        )
        given.pop('original_sizes')
        with torch.no_grad():
            found = sam.sam(
                pixels['pixel_values'], **given, input_masks=prompt, multimask_output=False
            )
        answers += [
            (label, mask, box, float(fit), logits)
            for (_, mask, box, _), fit, logits in zip(
                mine, found.iou_scores[0], found.pred_masks[0], strict=True
            )
        ]
    return answers, processor


@pytest.mark.parametrize('mask_scale', [None, 2.0])
@pytest.mark.parametrize(('size', 'seen'), SIZES)
def test_refinement_equals_its_definition_by_the_package(sam, size, seen, mask_scale):
    image = np.random.default_rng(0).integers(0, 256, (*seen, 3), dtype=np.uint8)
    labels, scores = coarse_case(size, 4, 1)
    settings = SAMPrompts(0.4, 6, mask_scale, prompt_batch=3)
    answers, processor = packages_answers(sam, image, labels, scores.probabilities, settings)
    fits = sorted(answer[3] for answer in answers)
    middle = len(fits) // 2
    threshold = (fits[middle - 1] + fits[middle]) / 2
    settings = SAMPrompts(0.4, 6, mask_scale, threshold, prompt_batch=3)

    def full(low_res):
        (logits,) = processor.post_process_masks([low_res], [seen], binarize=False)
        return F.interpolate(logits, size=labels.shape, mode='bilinear')[:, 0]

    wanted = plain_fusion(answers, full, labels, scores.probabilities, threshold)
    refined = settings(sam, sam.embed(image), labels, scores, with_scores=True)
    assert_same(refined.labels, wanted[0])
    assert_same(refined.scores, wanted[1])
    assert refined.boxes.tolist() == wanted[2]
    assert 0 < len(wanted[2]) < len(fits) and (refined.labels != labels).any()
