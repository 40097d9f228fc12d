from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from refinement_cases import (
    Scores,
    assert_same,
    coarse_case,
    plain_fusion,
    plain_prompts,
    sam_image,
    tiny_sam,
)
from segment_anything import SamPredictor
from torch.nn import functional as F

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.refiners import SAMPrompts, mask_fusion, sam_prompts
from ovseg.refiners.mask_fusion import decide_labels, largest_of_class, mask_scores
from ovseg.registry import MODELS
from ovseg.scores import coarse_map as coarse_module

SETTINGS = SAMPrompts(coarse_threshold=0.4, min_area=6, iou_threshold=0.5, prompt_batch=3)
# (output size, size that SAM saw)
SIZES = [((40, 56), (48, 64)), ((41, 37), (48, 48)), ((64, 64), (64, 64)), ((51, 34), (64, 48))]


def predictor_of(sam, image):
    predictor = SamPredictor(sam.sam)
    predictor.features, predictor.is_image_set = image.features, True
    predictor.input_size, predictor.original_size = image.input_size, image.image_size
    return predictor


def plain_decode(sam, image, labels, probabilities, settings):
    """[(class, region mask, box, iou, low-res logits)]: one call a class, by the definition."""
    half, small, regions = plain_prompts(labels, probabilities, settings)
    predictor, side = predictor_of(sam, image), sam.mask_side
    answers = []
    for label in range(len(probabilities)):
        mine = [region for region in regions if region[0] == label]
        if not mine:
            continue
        prompt = None
        if settings.mask_scale is not None:
            shape = predictor.transform.get_preprocess_shape(*labels.shape, side)
            prompt = F.interpolate(small[None, label : label + 1], size=shape, mode='bilinear')[0]
            prompt = settings.mask_scale * prompt * (prompt > settings.coarse_threshold)
            prompt = F.pad(prompt, (0, side - shape[1], 0, side - shape[0]))
        boxes = torch.tensor([box for _, _, box, _ in mine])
        points = torch.tensor([[point] for *_, point in mine])
        _, iou, low_res = predictor.predict_torch(
            predictor.transform.apply_coords_torch(points, half),
            torch.ones(len(mine), 1),
            predictor.transform.apply_boxes_torch(boxes, half),
            prompt,
            multimask_output=False,
        )
        answers += [
            (label, mask, box, float(fit), logits)
            for (_, mask, box, _), fit, logits in zip(mine, iou, low_res, strict=True)
        ]
    return answers


def plain_refinement(sam, image, labels, probabilities, settings):
    """Labels, scores and kept boxes with every mask at full size, product before maximum."""

    def full(low_res):
        logits = sam.sam.postprocess_masks(low_res, image.input_size, image.image_size)
        return F.interpolate(logits, size=labels.shape, mode='bilinear')[:, 0]

    answers = plain_decode(sam, image, labels, probabilities, settings)
    return plain_fusion(answers, full, labels, probabilities, settings.iou_threshold)


def half_kept(sam, image, labels, scores, settings=SETTINGS):
    """Moves SAM's estimates so that about half of an image's masks are kept."""
    answers = plain_decode(sam, image, labels, scores.probabilities, settings)
    fits = sorted(answer[3] for answer in answers)
    middle = sum(fits[len(fits) // 2 - 1 : len(fits) // 2 + 1]) / 2
    sam.sam.mask_decoder.iou_prediction_head.layers[-1].bias += settings.iou_threshold - middle
    return len(fits)


def case(size=(40, 56), seen=(48, 64), seed=0, classes=4):
    sam, image = tiny_sam(seed), sam_image(seen, seed)
    labels, scores = coarse_case(size, classes, seed)
    half_kept(sam, image, labels, scores)
    return sam, image, labels, scores


@pytest.fixture
def decoder_calls(monkeypatch):
    """The batch sizes of a SAM's mask decoder."""
    calls = []

    def watch(sam):
        plain = sam.sam.mask_decoder.forward

        def forward(**arguments):
            calls.append(len(arguments['sparse_prompt_embeddings']))
            return plain(**arguments)

        monkeypatch.setattr(sam.sam.mask_decoder, 'forward', forward)
        return calls

    return watch


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(('size', 'seen'), SIZES)
def test_refinement_equals_its_definition(size, seen, seed):
    sam, image, labels, scores = case(size, seen, seed)
    refined = SETTINGS(sam, image, labels, scores, with_scores=True)
    expected = plain_refinement(sam, image, labels, scores.probabilities, SETTINGS)
    assert_same(refined.labels, expected[0])
    assert_same(refined.scores, expected[1])
    assert refined.boxes.tolist() == expected[2]
    assert len(refined.iou) == len(expected[2]) and (refined.iou > 0.5).all()
    # Something happened: pixels changed, masks were kept, others were not.
    assert (refined.labels != labels).any()
    assert 0 < len(expected[2]) < len(SETTINGS.regions(labels, scores).classes)


def test_masks_without_a_mask_input_equal_their_definition():
    settings = replace(SETTINGS, mask_scale=None)
    sam, image, labels, scores = case(*SIZES[0], 0)
    refined = settings(sam, image, labels, scores, with_scores=True)
    expected = plain_refinement(sam, image, labels, scores.probabilities, settings)
    assert_same(refined.labels, expected[0])
    assert_same(refined.scores, expected[1])
    other = SETTINGS(sam, image, labels, scores, with_scores=True)
    assert not torch.equal(refined.scores, other.scores)


@pytest.mark.parametrize('values', [1, 5000])
def test_low_strips_change_nothing(values, monkeypatch):
    sam, image, labels, scores = case()
    whole = SETTINGS(sam, image, labels, scores, with_scores=True)
    for module in (coarse_module, mask_fusion, sam_prompts):
        monkeypatch.setattr(module, 'STRIPS', MemoryBudget(4 * values / 2**20))
    scores.asked.clear()
    strips = SETTINGS(sam, image, labels, scores, with_scores=True)
    assert_same(strips.labels, whole.labels)
    assert_same(strips.scores, whole.scores)
    assert max(scores.asked) < 30


def test_scores_are_made_only_when_asked_for_and_labels_are_the_same():
    sam, image, labels, scores = case()
    without = SETTINGS(sam, image, labels, scores)
    assert without.scores is None
    with_scores = SETTINGS(sam, image, labels, scores, with_scores=True)
    assert torch.equal(without.labels, with_scores.labels)


@pytest.mark.parametrize('batch', [1, 2, 100])
def test_prompts_decoded_at_once_change_no_answer(batch, decoder_calls):
    sam, image, labels, scores = case()
    regions = SETTINGS.regions(labels, scores)
    prompts = SETTINGS.prompts(sam, regions, scores)
    count = len(regions.classes)
    assert count > 6 and len(prompts.masks) == 4
    expected = sam.decode(image, prompts, count)
    calls = decoder_calls(sam)
    answers = sam.decode(image, prompts, batch)
    assert len(calls) == math.ceil(count / batch) and sum(calls) == count
    assert torch.allclose(answers.iou, expected.iou, atol=1e-5)
    assert torch.allclose(answers.low_res, expected.low_res, atol=1e-5)


def test_classes_that_are_absent_cost_no_decoding_and_change_nothing(decoder_calls):
    sam, image, labels, scores = case()
    few = SETTINGS(sam, image, labels, scores, with_scores=True)
    calls = decoder_calls(sam)
    SETTINGS(sam, image, labels, scores)
    alone = list(calls)
    calls.clear()
    absent = torch.zeros(30, *scores.size)
    many = SETTINGS(
        sam, image, labels + 30, Scores(torch.cat([absent, scores.probabilities])), True
    )
    assert calls == alone
    assert torch.equal(many.labels, few.labels + 30)
    assert torch.allclose(many.scores[30:], few.scores) and not many.scores[:30].any()


def test_features_in_half_precision_are_decoded_in_float32():
    sam, image, labels, scores = case()
    half = replace(image, features=image.features.half())
    rounded = replace(image, features=half.features.float())
    ours = SETTINGS(sam, half, labels, scores)
    assert ours.iou.dtype == torch.float32
    assert torch.equal(ours.labels, SETTINGS(sam, rounded, labels, scores).labels)


@pytest.mark.parametrize('threshold', [1.5, -0.5])
def test_estimates_outside_of_0_to_1_are_divided_by_a_threshold_there(threshold):
    sam, image = tiny_sam(), sam_image((48, 64))
    labels, scores = coarse_case((40, 56), 4)
    settings = replace(SETTINGS, iou_threshold=threshold)
    count = half_kept(sam, image, labels, scores, settings)
    refined = settings(sam, image, labels, scores, with_scores=True)
    wanted, wanted_scores, boxes = plain_refinement(
        sam, image, labels, scores.probabilities, settings
    )
    assert 0 < len(refined.iou) < count and (refined.iou > threshold).all()
    assert refined.boxes.tolist() == boxes
    assert_same(refined.labels, wanted)
    assert_same(refined.scores, wanted_scores)


@pytest.mark.parametrize(
    'settings',
    [
        {'coarse_threshold': 1.0},
        {'min_area': 10000},
        {'iou_threshold': 1.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_without_a_good_mask_the_coarse_result_stays(settings, decoder_calls):
    sam, image, labels, scores = case()
    calls = decoder_calls(sam)
    refined = replace(SETTINGS, **settings)(sam, image, labels, scores, with_scores=True)
    assert torch.equal(refined.labels, labels)
    assert torch.equal(refined.scores, scores.probabilities)
    assert refined.boxes.shape == (0, 4) and refined.iou.shape == (0,)
    assert bool(calls) == ('iou_threshold' in settings)


@pytest.mark.parametrize('size', [(1, 9), (9, 1), (1, 1), (2, 2), (3, 50), (2, 900)])
def test_images_of_any_shape_are_refined(size):
    sam, image = tiny_sam(), sam_image((16, 64))
    sam.sam.mask_decoder.iou_prediction_head.layers[-1].bias += 10
    labels, scores = coarse_case(size, 3)
    settings = replace(SETTINGS, min_area=1)
    refined = settings(sam, image, labels, scores, with_scores=True)
    assert refined.labels.shape == size and refined.scores.shape == (3, *size)
    if min(size) == 1:
        assert torch.equal(refined.labels, labels)
    else:
        assert len(refined.boxes) > 0


def test_pixels_outside_of_all_masks_keep_their_label():
    scores = mask_scores(
        torch.tensor([[0.9, 0.9, 0.6]]), torch.tensor([[True, False, True]]), torch.ones(1, 3)
    )
    _, labels = decide_labels(scores, torch.tensor([7]), torch.tensor([1, 2, 3]))
    assert labels.tolist() == [7, 2, 7]


def test_the_first_of_equally_good_classes_wins():
    scores = torch.tensor([[0.5, 0.2], [0.5, 0.3]])
    largest, labels = decide_labels(scores, torch.tensor([2, 5]), torch.zeros(2).long())
    assert labels.tolist() == [2, 5] and torch.equal(largest, scores.amax(0))


def test_a_class_takes_the_best_of_its_regions():
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0], [-1.0, 9.0]])
    assert largest_of_class(values, [2, 1]).tolist() == [[3.0, 2.0], [-1.0, 9.0]]


def test_a_config_builds_the_published_settings():
    built = MODELS.build({'type': 'SAMPrompts'})
    assert built == SAMPrompts(0.2, 225, 0.005, 0.8)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'coarse_threshold': -0.1}, r'SAMPrompts.coarse_threshold must lie in \[0, 1\], got -0.1'),
        ({'iou_threshold': float('nan')}, 'SAMPrompts.iou_threshold must be finite, got nan'),
        ({'min_area': -1}, 'SAMPrompts.min_area must be at least 0, got -1'),
        ({'mask_scale': -1.0}, 'SAMPrompts.mask_scale must be at least 0, got -1.0'),
        ({'prompt_batch': 0}, 'SAMPrompts.prompt_batch must be at least 1, got 0'),
    ],
)
def test_numbers_out_of_range_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        SAMPrompts(**settings)
