"""SAM 2 behind our interface equals transformers' own path: processor, model, post-processing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_sam2s import tiny_sam2
from torch import nn

from ovseg.encoders.prompted_sam import Prompts, to_frame
from ovseg.encoders.sam2_prompted import SAM2
from ovseg.precision import set_precision
from ovseg.refiners.mask_fusion import RegionMasks

SIZES = ((37, 90), (90, 37), (64, 64), (1, 50))


@pytest.fixture(scope='module')
def sam():
    return SAM2(tiny_sam2())


@pytest.fixture(scope='module')
def processor(sam):
    from transformers import Sam2Processor

    return Sam2Processor(sam.processor)


def picture(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def prompts_of(size, count=4, seed=0):
    """(count, 1, 2) points and (count, 4) boxes in pixels of an image."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.tensor([size[1], size[0]])
    corners = (torch.rand(count, 2, 2, generator=generator) * sides).floor().sort(1).values
    points = (torch.rand(count, 1, 2, generator=generator) * sides).floor()
    return points, corners.flatten(1)


def packages(sam, processor, image, points, boxes=None, masks=None, several=False):
    """Answers and masks at the size of the image, by transformers alone."""
    given = {} if boxes is None else {'input_boxes': [boxes.tolist()]}
    inputs = processor(
        images=image,
        input_data_format='channels_last',
        input_points=[points.tolist()],
        input_labels=[torch.ones(points.shape[:2]).int().tolist()],
        return_tensors='pt',
        **given,
    )
    sizes = inputs.pop('original_sizes')
    with torch.no_grad():
        found = sam.sam(**inputs, input_masks=masks, multimask_output=several)
    full = processor.post_process_masks(found.pred_masks, sizes, binarize=False)[0]
    return found.pred_masks[0], found.iou_scores[0], full


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('several', [False, True])
@pytest.mark.parametrize('with_boxes', [False, True])
def test_points_and_boxes_give_the_masks_of_the_package(sam, processor, size, several, with_boxes):
    image, (points, boxes) = picture(size), prompts_of(size)
    boxes = boxes if with_boxes else None
    low_res, iou, full = packages(sam, processor, image, points, boxes, several=several)
    seen, inside = sam.embed(image), sam.inside(size, sam.frame)
    found = sam.ask(
        seen,
        to_frame(points, size, inside),
        None if boxes is None else to_frame(boxes, size, inside),
        several=several,
    )
    assert found.low_res.shape == (4, 3 if several else 1, sam.mask_side, sam.mask_side)
    assert torch.allclose(found.low_res, low_res, atol=1e-3)
    assert torch.allclose(found.iou, iou, atol=1e-5)
    maps = RegionMasks(found.low_res[:, 0], torch.arange(4), seen, sam.mask_threshold).at(size)
    assert torch.allclose(maps.rows(0, size[0]), full[:, 0], atol=1e-3)
    assert 0 < (full > 0).float().mean() < 1  # there are borders


def test_the_package_and_we_see_the_same_of_an_image(sam, processor):
    image = picture((37, 90))
    pixels = processor(images=image, input_data_format='channels_last', return_tensors='pt')
    *finer, features = sam.sam.get_image_embeddings(pixels['pixel_values'])
    seen = sam.embed(image)
    assert torch.equal(seen.features, features)
    for ours, wanted in zip(seen.finer, finer, strict=True):
        assert torch.equal(ours, wanted)


@pytest.mark.parametrize('batch', [1, 3, 100])
def test_prompts_of_several_classes_have_their_own_mask_inputs(sam, processor, batch):
    size, side = (37, 90), sam.mask_side
    image, (points, boxes) = picture(size), prompts_of(size, 5)
    masks = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([0, 0, 1, 1, 1])
    inside = sam.inside(size, sam.frame)
    given = Prompts(to_frame(points, size, inside), to_frame(boxes, size, inside), masks, index)
    seen = sam.embed(image)
    found = sam.decode(seen, given, batch)
    without = sam.decode(seen, Prompts(given.points, given.boxes, None, index), batch)
    assert not torch.allclose(found.low_res, without.low_res, atol=1e-2)
    for label in (0, 1):
        mine = index == label
        low_res, iou, _ = packages(
            sam, processor, image, points[mine], boxes[mine], masks[label : label + 1]
        )
        assert torch.allclose(found.low_res[mine], low_res[:, 0], atol=1e-3)
        assert torch.allclose(found.iou[mine], iou[:, 0], atol=1e-5)


def test_no_prompts_no_masks(sam):
    nothing = Prompts(torch.zeros(0, 1, 2), torch.zeros(0, 4), None, torch.zeros(0).long())
    found = sam.decode(sam.embed(picture((8, 9))), nothing, 4)
    assert found.low_res.shape == (0, sam.mask_side, sam.mask_side) and found.iou.shape == (0,)


def test_an_unstable_single_mask_gives_way_to_the_best_of_three_where_asked():
    rule, first = (SAM2(tiny_sam2(7, dynamic_multimask_via_stability=on)) for on in (None, False))
    points = 128 * torch.rand(40, 1, 2, generator=torch.Generator().manual_seed(1))
    image = picture((37, 90))
    one, plain = (sam.ask(sam.embed(image), points) for sam in (rule, first))
    three = rule.ask(rule.embed(image), points, several=True)
    changed = (one.low_res != plain.low_res).flatten(1).any(1)
    assert 0 < changed.sum() < len(points)
    best = three.iou.argmax(1)[changed]
    rows = changed.nonzero()[:, 0]
    assert torch.equal(one.low_res[changed, 0], three.low_res[rows, best])
    assert torch.equal(one.iou[changed, 0], three.iou[rows, best])
    # transformers' own rule, spelt out: 98 % of what lies above -0.05 lies above 0.05.
    area = [(plain.low_res > limit).flatten(1).sum(1) for limit in (0.05, -0.05)]
    assert torch.equal(changed, area[0] / area[1] < 0.98)


@pytest.mark.parametrize('cast', ['whole', 'products'])
def test_in_bfloat16_prompts_stay_exact(sam, cast):
    image, (points, boxes) = picture((64, 64)), prompts_of((64, 64))
    rough = SAM2(tiny_sam2())
    model = nn.ModuleList([rough])
    if cast == 'whole':
        model.to(torch.bfloat16)
    else:
        set_precision(model, 'bfloat16')
    linear = rough.sam.vision_encoder.backbone.blocks[0].mlp.proj_in
    assert linear.weight.dtype == torch.bfloat16
    for part in (rough.sam.prompt_encoder, rough.sam.mask_decoder):
        assert {value.dtype for value in part.parameters()} == {torch.float32}
    seen = rough.embed(image)
    assert {each.dtype for each in (seen.features, *seen.finer)} == {torch.float32}
    ours, exact = rough.ask(seen, points, boxes), sam.ask(sam.embed(image), points, boxes)
    assert ours.low_res.dtype == torch.float32
    share = ((ours.low_res > 0) == (exact.low_res > 0)).float().mean()
    assert share > 0.9 and not torch.equal(ours.low_res, exact.low_res)
