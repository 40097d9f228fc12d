from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions.region_crops import (
    RegionSettings,
    crop_regions,
    expand_boxes,
    mask_boxes,
    masked_crops,
)

MEAN = torch.tensor(OPENAI_DATASET_MEAN).view(3, 1, 1) * 255
STD = torch.tensor(OPENAI_DATASET_STD).view(3, 1, 1) * 255


def scene(height=20, width=27):
    """An image; masks: a blob, empty, a pixel, everything, at the threshold, a row, a corner."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    masks = 0.35 * torch.rand(7, height, width, generator=generator)
    masks[0, 3:11, 5:9] = 0.9
    masks[2, 7, 13] = 0.41
    masks[3] = 0.8
    masks[4, 2:5] = torch.tensor(0.4)
    masks[5, 6, 4:22] = 0.7
    masks[6, -3:, -4:] += 0.5
    return image, masks


def plain_region(image, mask, fill, size, threshold=0.4, ratio=1.0, matting=False):
    """One region by definition; None for an invalid mask."""
    binary = mask > threshold
    if not binary.any():
        return None
    rows, columns = binary.any(1).nonzero().flatten(), binary.any(0).nonzero().flatten()
    ends = []
    for first, last, limit in (
        (int(columns[0]), int(columns[-1]) + 1, image.shape[2]),
        (int(rows[0]), int(rows[-1]) + 1, image.shape[1]),
    ):
        center, half = (first + last) / 2, (last - first) * ratio / 2
        ends.append((max(int(center - half), 0), min(int(center + half), limit)))
    (x1, x2), (y1, y2) = ends
    shown = (mask if matting else binary.float())[y1:y2, x1:x2]
    crop = image[:, y1:y2, x1:x2].float() * shown + (1 - shown) * fill
    crop = F.interpolate(((crop - MEAN) / STD)[None], size=(size, size), mode='bicubic')[0]
    return crop, F.interpolate(shown[None, None], size=(size, size))[0], [x1, y1, x2, y2]


@pytest.mark.parametrize('size', [24, 7])
@pytest.mark.parametrize(
    'choice',
    [{}, {'fill': 'zero'}, {'expand_ratio': 1.5}, {'matting': True}, {'threshold': 0.3}],
    ids=str,
)
def test_every_region_is_the_resize_of_its_own_masked_crop(choice, size):
    image, masks = scene()
    found = crop_regions(image, masks, RegionSettings(size=size, **choice))
    fill = torch.zeros(3, 1, 1) if choice.get('fill') == 'zero' else MEAN
    wanted = [
        plain_region(
            *(image, mask, fill, size, choice.get('threshold', 0.4)),
            *(choice.get('expand_ratio', 1.0), choice.get('matting', False)),
        )
        for mask in masks
    ]
    assert found.valid.tolist() == [region is not None for region in wanted]
    kept = [region for region in wanted if region is not None]
    assert found.boxes.tolist() == [box for _, _, box in kept]
    assert torch.allclose(found.images, torch.stack([crop for crop, _, _ in kept]), atol=1e-5)
    assert torch.equal(found.masks, torch.stack([mask for _, mask, _ in kept]))


def test_masks_at_the_threshold_are_invalid_and_a_single_pixel_is_a_region():
    image, masks = scene()
    found = crop_regions(image, masks, RegionSettings(size=4))
    assert found.valid.tolist() == [True, False, True, True, False, True, True]
    pixel = (image[:, 7, 13, None, None] - MEAN) / STD
    assert torch.allclose(found.images[1], pixel.expand(-1, 4, 4), atol=1e-5)
    assert found.masks[1].all()


def test_blank_pixels_are_zero_with_the_mean_and_a_colour_can_be_chosen():
    image, masks = scene()
    tall = torch.zeros(1, 20, 27)
    tall[0, :, 0] = tall[0, 0] = 1  # two edges of the image; the rest of its box is blank
    blank = (..., slice(12, None), slice(12, None))
    assert crop_regions(image, tall, RegionSettings(size=24)).images[blank].abs().max() < 1e-6
    colour = RegionSettings(size=24, fill=(124, 116, 103))
    region = crop_regions(image, tall, colour).images[0]
    expected = (torch.tensor([124.0, 116, 103]).view(3, 1, 1) - MEAN) / STD
    assert torch.allclose(region[blank], expected.expand(3, 12, 12), atol=1e-5)


def test_without_statistics_regions_are_pixels():
    image, masks = scene()
    pixels = RegionSettings(size=9, mean=(0, 0, 0), std=(1, 1, 1), fill=MEAN.flatten().tolist())
    ours = crop_regions(image, masks, pixels).images
    normal = crop_regions(image, masks, RegionSettings(size=9)).images
    assert torch.allclose(ours, normal * STD + MEAN, atol=1e-2)
    crop, shown = next(masked_crops(image, masks[:1], torch.tensor([[5, 3, 9, 11]]), pixels))
    assert torch.equal(crop, image[:, 3:11, 5:9].float()) and shown.all()


def test_where_no_mask_is_valid_there_is_no_region():
    image, masks = scene()
    for some in (masks[1:2], masks[:0]):
        found = crop_regions(image, some, RegionSettings(size=6))
        assert found.images.shape == (0, 3, 6, 6) and found.masks.shape == (0, 1, 6, 6)
        assert found.boxes.shape == (0, 4) and not found.valid.any()
        assert found.valid.shape == (len(some),)


def test_inputs_are_left_as_they_are():
    image, masks = scene()
    copies = image.clone(), masks.clone()
    crop_regions(image, masks, RegionSettings(size=6, matting=True))
    assert torch.equal(image, copies[0]) and torch.equal(masks, copies[1])


SPAN = st.tuples(st.integers(0, 40), st.integers(1, 40))


@given(rows=SPAN, columns=SPAN, ratio=st.floats(1.0, 3.0))
@settings(max_examples=100, deadline=None)
def test_an_expanded_box_holds_the_tight_one_and_stays_in_the_image(rows, columns, ratio):
    size = (sum(rows) + 3, sum(columns) + 3)
    masks = torch.zeros(1, *size)
    masks[0, rows[0], columns[0]] = masks[0, sum(rows) - 1, sum(columns) - 1] = 1
    (tight,), valid = mask_boxes(masks, 0.5)
    assert valid.all()
    assert tight.tolist() == [columns[0], rows[0], sum(columns), sum(rows)]
    ((x1, y1, x2, y2),) = expand_boxes(tight[None], ratio, size).tolist()
    assert 0 <= x1 <= tight[0] and tight[2] <= x2 <= size[1]
    assert 0 <= y1 <= tight[1] and tight[3] <= y2 <= size[0]
    assert expand_boxes(tight[None], 1.0, size).tolist() == [tight.tolist()]


def test_new_ends_of_a_box_are_rounded_towards_zero():
    # 3 x 1.5 = 4.5 wide about 11.5: from 9.25 to 13.75; beyond the border it is cut.
    boxes = torch.tensor([[10, 0, 13, 1]])
    assert expand_boxes(boxes, 1.5, (30, 30)).tolist() == [[9, 0, 13, 1]]
    assert expand_boxes(boxes, 9.0, (3, 14)).tolist() == [[0, 0, 14, 3]]


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'threshold': 1.0}, r'regions.threshold must lie in \[0, 1\), got 1.0'),
        ({'expand_ratio': 0.9}, 'regions.expand_ratio must be at least 1, got 0.9'),
        ({'size': 0}, 'regions.size and regions.batch_megabytes must be positive'),
        ({'batch_megabytes': 0}, 'regions.size and regions.batch_megabytes must be positive'),
        ({'fill': 'black'}, "regions.fill must be 'mean', 'zero' or an RGB colour, got 'black'"),
        ({'fill': [1, 2]}, 'regions.fill must be three numbers'),
        ({'std': (1, 0, 1)}, 'regions.std must be positive'),
        ({'mean': (1,)}, 'regions.mean must be three numbers'),
        ({'treshold': 0.4}, "regions has no setting 'treshold' .* Did you mean 'threshold'?"),
    ],
)
def test_settings_that_mean_nothing_are_named(config, message):
    with pytest.raises(UserError, match=message):
        RegionSettings.from_config(config)
    assert RegionSettings.from_config(None) == RegionSettings()


def test_images_and_masks_that_do_not_fit_are_named():
    image, masks = scene()
    with pytest.raises(UserError, match=r'masks of \(19, 27\) pixels do not fit .* \(20, 27\)'):
        crop_regions(image, masks[:, 1:], RegionSettings())
    with pytest.raises(UserError, match=r'\(20, 27\) and \(7, 20, 27\)'):
        crop_regions(image[0], masks, RegionSettings())
