from __future__ import annotations

import pytest
import torch
from tiny_clip_models import tiny_clip

from ovseg.encoders import MaskPromptedViT
from ovseg.errors import UserError
from ovseg.regions.mask_maps import mask_maps, mask_probabilities
from ovseg.regions.region_crops import RegionSettings, crop_regions
from ovseg.regions.region_embeddings import crop_proposals, embed_regions

SIZE, PADDED = (50, 77), (64, 96)
VALID = [True, False, True, True, False, True]


@pytest.fixture(scope='module')
def tower():
    tower = MaskPromptedViT(tiny_clip().model.visual, 2)
    torch.manual_seed(1)
    torch.nn.init.normal_(tower.mask_embedding)
    return tower.requires_grad_(False)


def proposals(valid=VALID):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    logits = torch.full((len(valid), 16, 24), -4.0)
    for query, is_valid in enumerate(valid):
        if is_valid:
            logits[query, 2 + query : 7 + query, 3 : 9 + query] = 4.0
    return image, mask_maps(logits, PADDED, SIZE)


@pytest.mark.parametrize('mask_prompts', [True, False])
@pytest.mark.parametrize('batch_megabytes', [1e-6, 0.1, 256.0])
def test_batches_of_any_size_have_the_embeddings_of_all_regions(
    tower, mask_prompts, batch_megabytes
):
    image, maps = proposals()
    settings = RegionSettings(size=32, batch_megabytes=batch_megabytes)
    found = embed_regions(tower, image, maps, settings, mask_prompts)
    crops = crop_regions(image, mask_probabilities(maps), RegionSettings(size=32))
    expected = tower(crops.images, crops.masks if mask_prompts else None)
    assert found.valid.tolist() == crops.valid.tolist() == VALID
    assert torch.allclose(found.embeddings, expected, atol=1e-5)


def test_regions_of_small_masks_are_those_of_full_size_masks():
    image, maps = proposals()
    maps.maps[0, 4] = -0.2  # 0.45: hopeful at a threshold of 0.4, and everywhere
    settings = RegionSettings(size=16, batch_megabytes=0.05, matting=True)
    ours = crop_proposals(image, maps, settings)
    whole = crop_regions(image, mask_probabilities(maps), settings)
    for name in ('images', 'masks', 'boxes', 'valid'):
        assert torch.equal(getattr(ours, name), getattr(whole, name)), name
    assert ours.boxes[-2].tolist() == [0, 0, 77, 50]


def test_a_mask_that_is_above_the_threshold_in_the_padding_only_is_invalid(tower):
    image, maps = proposals([False, True])
    maps.maps[0, 0, -1, -1] = 9.0
    found = embed_regions(tower, image, maps, RegionSettings(size=32))
    assert found.valid.tolist() == [False, True] and len(found.embeddings) == 1


@pytest.mark.parametrize('mask_prompts', [True, False])
@pytest.mark.parametrize('valid', [[False] * 3, [False, True, False]])
def test_no_valid_mask_and_a_single_one_are_embedded_like_any(tower, valid, mask_prompts):
    image, maps = proposals(valid)
    found = embed_regions(tower, image, maps, RegionSettings(size=32), mask_prompts)
    assert found.valid.tolist() == valid
    assert found.embeddings.shape == (sum(valid), 24)
    assert found.embeddings.isfinite().all()


def test_crops_of_another_size_than_the_tower_are_named(tower):
    image, maps = proposals()
    with pytest.raises(UserError, match=r'must be \(N, 1, 32, 32\) .* got \(4, 1, 224, 224\)'):
        embed_regions(tower, image, maps, RegionSettings())
    with pytest.raises(UserError, match=r'\(32, 32\) pixels for this CLIP, got \(224, 224\)'):
        embed_regions(tower, image, maps, RegionSettings(), mask_prompts=False)
    with pytest.raises(UserError, match=r'masks of \(50, 77\) pixels do not fit'):
        embed_regions(tower, image[:, 1:], maps, RegionSettings(size=32))
