"""SAM 2's masks of everything equal what the parts of transformers' pipeline make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_sam2s import TINY_SAM2, randomised, tiny_sam2

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.precision import set_precision
from ovseg.regions import SAMRegions, mask_generators
from ovseg.regions.mask_generators import MaskGrid, SAM2Generator
from ovseg.regions.region_maps import paint_masks

# As CorrCLIP's release asks SAM 2 and as transformers' pipeline does, at thresholds that divide the
# masks of random weights. Boxes of such masks are much alike; most tests keep them all.
ONE = {'multimask_output': False, 'pred_iou_thresh': 0.83, 'stability_score_thresh': 0.06}
THREE = {'pred_iou_thresh': 0.82, 'stability_score_thresh': 0.05}
ALIKE = 1.0


@pytest.fixture(scope='module')
def loaded():
    return tiny_sam2(2)


def picture(size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    rows, columns = (
        np.arange(side) * cells // side for side, cells in zip(size, (5, 7), strict=True)
    )
    return coarse[rows][:, columns]


def by_hand(sam, image, settings, per_side):
    """The calls of transformers' pipeline, one batch of points."""
    processor, size = sam.processor, image.shape[:2]
    shown = torch.from_numpy(image).permute(2, 0, 1)
    box, points, _, labels = processor.generate_crop_boxes(shown, 128, points_per_crop=per_side)
    inputs = processor([shown], input_data_format='channels_first', return_tensors='pt')
    with torch.no_grad():
        found = sam.sam(
            inputs['pixel_values'],
            input_points=points,
            input_labels=labels,
            multimask_output=settings.get('multimask_output', True),
        )
    masks = processor.post_process_masks(found.pred_masks, [size], binarize=False)
    kept = processor.filter_masks(
        masks[0],
        found.iou_scores[0],
        size,
        box[0],
        settings['pred_iou_thresh'],
        settings['stability_score_thresh'],
    )
    return processor.post_process_for_mask_generation(*kept, ALIKE)[0]


@pytest.mark.parametrize('settings', [ONE, THREE], ids=['one mask', 'three masks'])
@pytest.mark.parametrize('per_side', [3, 8])
def test_masks_of_a_square_image_are_those_of_the_packages_parts(loaded, settings, per_side):
    grid = MaskGrid(per_side, points_per_batch=5, box_nms_thresh=ALIKE, **settings)
    generator, image = SAM2Generator(loaded, grid), picture((64, 64))
    found = generator.masks(image)
    wanted = by_hand(generator.sam, image, settings, per_side)
    count = per_side**2 * (3 if grid.multimask_output else 1)
    assert 0 < len(found) < count and len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == bool and (ours != theirs.numpy()).sum() <= 2


@pytest.mark.parametrize(('nms', 'least'), [(ALIKE, 3), (0.7, 1)])
def test_masks_are_those_of_the_packages_pipeline(loaded, nms, least):
    from PIL import Image
    from transformers import pipeline

    grid = MaskGrid(points_per_side=4, box_nms_thresh=nms, **THREE)
    generator, image = SAM2Generator(loaded, grid), picture((128, 128))
    processor = generator.sam.processor
    make = pipeline('mask-generation', model=loaded.model, image_processor=processor)
    wanted = make(Image.fromarray(image), points_per_crop=4, crops_nms_thresh=nms, **THREE)['masks']
    found = generator.masks(image)
    assert len(found) == len(wanted) >= least
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours != np.asarray(theirs)).sum() <= 2


@pytest.mark.parametrize('size', [(64, 64), (30, 90), (90, 30)])
def test_the_grid_lies_over_the_whole_of_any_image(loaded, size):
    """As the processor of the package brings points of an image to the frame."""
    from transformers import Sam2Processor

    from ovseg.encoders.sam2_prompted import SAM2

    rows, columns = (side * (np.arange(3) + 0.5) / 3 for side in size)
    points = [[[float(x), float(y)]] for y in rows for x in columns]
    processor = Sam2Processor(SAM2(loaded).processor)
    wanted = processor(input_points=[points], original_sizes=[size], return_tensors='pt')
    assert torch.allclose(MaskGrid(3).points(128), wanted['input_points'][0, :, 0], atol=1e-4)


@pytest.mark.parametrize('size', [(37, 90), (90, 37)])
def test_little_memory_and_small_batches_change_nothing(loaded, size, monkeypatch):
    image = picture(size)
    settings = {'points_per_side': 5, 'box_nms_thresh': ALIKE, **ONE}
    found = SAM2Generator(loaded, MaskGrid(**settings)).masks(image)
    monkeypatch.setattr(mask_generators, '_MASKS', MemoryBudget(1e-6))
    again = SAM2Generator(loaded, MaskGrid(points_per_batch=2, **settings)).masks(image)
    assert len(found) == len(again) > 1 and found[0].shape == size
    assert all((one != other).sum() <= 2 for one, other in zip(found, again, strict=True))


def test_thresholds_that_no_mask_reaches_leave_none(loaded):
    for settings in ({'pred_iou_thresh': 0.999}, {'stability_score_thresh': 1.0}):
        generator = SAM2Generator(loaded, MaskGrid(points_per_side=2, **settings))
        assert generator.masks(picture((30, 40))) == []


@pytest.mark.parametrize('size', [(1, 3000), (3000, 1), (2, 3), (1, 1)])
def test_thin_images_have_masks_of_their_size(loaded, size):
    grid = MaskGrid(2, pred_iou_thresh=0, stability_score_thresh=0)
    found = SAM2Generator(loaded, grid).masks(picture(size))
    assert found and all(mask.shape == size for mask in found)


def test_regions_by_sam_2_are_a_config_away(loaded):
    source = SAMRegions(
        sam={'model': TINY_SAM2, 'pretrained': 'random'},
        generator={'points_per_side': 4, 'box_nms_thresh': ALIKE, **ONE},
    )
    randomised(source.sam.sam, 2)
    image = picture((37, 90))
    found = source.regions(image)
    assert found.shape == (37, 90) and len(np.unique(found)) >= 2
    assert np.array_equal(found, paint_masks(source.generator.masks(image), (37, 90)))
    assert 'points_per_side=4' in str(source) and 'random' in str(source)
    # As with the first SAM, its thresholds decide in float32.
    set_precision(torch.nn.ModuleList([source]), 'bfloat16')
    assert {value.dtype for value in source.parameters()} == {torch.float32}
    assert np.array_equal(source.regions(image), found)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'points_per_sides': 3}, r"regions\.generator has no setting 'points_per_sides'"),
        ({'points_per_side': 0}, r'regions\.generator\.points_per_side must be at least 1, got 0'),
        ({'multimask_output': 'no'}, r"regions\.generator\.multimask_output is 'no'"),
    ],
)
def test_settings_that_the_grid_has_not_are_named(loaded, settings, message):
    with pytest.raises(UserError, match=message):
        SAMRegions({'model': TINY_SAM2, 'pretrained': 'random'}, settings)
