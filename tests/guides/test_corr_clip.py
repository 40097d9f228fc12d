from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_clip_models import VIT, tiny_clip
from tiny_companions import COMPANIONS, DINO
from torch.nn import functional as F

from ovseg.affinity.region_scope import merge_regions, scoped_affinity
from ovseg.encoders import build_dense_encoder, load_clip
from ovseg.errors import UserError
from ovseg.guides.mixer import Look

DEEP = {**VIT, 'vision_cfg': {**VIT['vision_cfg'], 'layers': 6}}


def encoder_of(visual=None, companion=DINO, **settings):
    torch.manual_seed(0)
    if visual is None:
        visual = load_clip(DEEP, 'random').model.visual
    settings = {'companion': companion, 'position_resize': 'scale_factor', **settings}
    return build_dense_encoder(visual, type='CorrCLIPEncoder', **settings)


def regions_of(batch, height, width, count=5):
    generator = torch.Generator().manual_seed(batch * height + width)
    coarse = torch.randint(count, (batch, 1, 4, 4), generator=generator).float()
    return F.interpolate(coarse, size=(height, width), mode='nearest')[:, 0].long()


def with_regions(encoder, image, regions):
    return encoder(image, look=replace(encoder.look(encoder.pad(image)), regions=regions))


def plain_features(encoder, image, regions):
    """One image through open_clip's own blocks with a mask, as the method says it."""
    visual = encoder.clip.visual
    companion = encoder.look(image).features
    merged = merge_regions(companion, regions, encoder.mixer.merge_distance)
    affinity = scoped_affinity(companion, merged, encoder.mixer.temperature)[0]
    tokens, grid = encoder.clip.embed(image)
    on_clip = F.interpolate(merged[None].float(), size=grid, mode='nearest')[0, 0].long()
    values = on_clip.unique()
    count, patches = len(values), grid[0] * grid[1]
    hidden = torch.full((count + 1 + patches,) * 2, -float('inf'))
    hidden[count:, count:] = 0
    hidden[:count, count] = 0
    for row, value in enumerate(values):
        hidden[row, count + 1 :][on_clip.flatten() == value] = 0
    tokens = torch.cat([tokens[:, :1].repeat(1, count, 1), tokens], 1)
    states = []
    for block in visual.transformer.resblocks:
        before = tokens
        tokens = block(tokens, attn_mask=hidden)
        states.append(tokens)
    # Six blocks: all but four, the last of them the third from the end.
    lower = (states[2] + states[3]) / 2
    last = visual.transformer.resblocks[-1]
    branches = []
    for state in (before, lower):
        width = state.shape[-1]
        value = last.ln_1(state[:, count:]) @ last.attn.in_proj_weight[2 * width :].T
        value = (value + last.attn.in_proj_bias[2 * width :])[:, 1:].transpose(1, 2)
        value = F.interpolate(value.unflatten(2, grid), size=regions.shape[1:], mode='bilinear')
        branches.append(last.attn.out_proj(affinity @ value[0].flatten(1).T))
    back = F.interpolate(on_clip[None, None].float(), size=regions.shape[1:], mode='nearest')
    rows = (back.flatten()[:, None] == values).float()
    branches.append(rows @ tokens[0, :count])
    main, spatial, semantic = (visual.ln_post(branch) for branch in branches)
    return (main + spatial + 0.5 * semantic) @ visual.proj


@pytest.mark.parametrize('height, width', [(32, 32), (24, 48)])
def test_features_are_those_of_masked_blocks_and_three_branches(height, width):
    encoder = encoder_of()
    image = torch.randn(1, 3, height, width)
    regions = regions_of(1, height // 4, width // 4)
    found = with_regions(encoder, image, regions).patch[0].flatten(1).T
    assert torch.allclose(found, plain_features(encoder, image, regions), atol=1e-4)


@pytest.mark.parametrize('name', sorted(COMPANIONS))
def test_images_with_different_numbers_of_regions_are_encoded_alike_alone_and_together(name):
    encoder = encoder_of(companion=COMPANIONS[name], padding='centred', padding_multiple=16)
    images = torch.randn(3, 3, 40, 24)
    regions = regions_of(3, 48, 32)
    regions[1] = 0
    together = with_regions(encoder, images, regions).patch
    assert torch.isfinite(together).all()
    for i in range(3):
        alone = with_regions(encoder, images[i : i + 1], regions[i : i + 1]).patch[0]
        assert torch.allclose(together[i], alone, atol=1e-4)


def test_given_features_take_the_companions_place():
    encoder = encoder_of(merge_distance=None)
    image, regions = torch.randn(1, 3, 32, 32), regions_of(1, 32, 32)
    own = encoder.look(encoder.pad(image)).features
    given = encoder(image, look=Look(own, regions)).patch
    assert torch.equal(given, with_regions(encoder, image, regions).patch)
    coarse = encoder(image, look=Look(torch.randn(1, 5, 3, 2), regions)).patch
    assert coarse.shape == (1, 24, 3, 2)


@pytest.mark.parametrize(('layers', 'spatial'), [(12, 5), (24, 12), (32, 28), (6, 2)])
def test_the_spatial_branch_is_as_deep_as_released(layers, spatial):
    config = {**VIT, 'vision_cfg': {**VIT['vision_cfg'], 'layers': layers}}
    encoder = encoder_of(load_clip(config, 'random').model.visual)
    assert encoder.mixer.blocks_of(encoder.clip) == spatial


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'companion_sees': 'everything'}, "encoder.companion_sees must be 'windows' or 'image'"),
        ({'temperature': -1}, 'encoder.temperature must be positive'),
        ({'spatial_blocks': 5}, r'encoder.spatial_blocks must lie in 1\.\.4'),
    ],
)
def test_bad_settings_are_one_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        encoder_of(**settings)


def test_a_clip_of_few_blocks_needs_to_say_which_are_averaged():
    visual = tiny_clip('vit').model.visual
    with pytest.raises(UserError, match='encoder.spatial_blocks must lie in'):
        encoder_of(visual)
    assert encoder_of(visual, spatial_blocks=1)(torch.randn(1, 3, 32, 32)).patch.shape[1] == 24
