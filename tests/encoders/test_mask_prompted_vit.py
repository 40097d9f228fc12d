from __future__ import annotations

import copy

import pytest
import torch
from open_clip.transformer import VisionTransformer
from tiny_clip_models import VIT, tiny_clip
from torch.nn import functional as F

from ovseg.encoders import MaskPromptedViT, load_clip
from ovseg.encoders.mask_prompted_vit import load_mask_prompted
from ovseg.errors import UserError

SIDE, PATCHES, WIDTH = 32, 16, 32


def prompted(name='vit', depth=2):
    visual = tiny_clip(name).model.visual
    tower = MaskPromptedViT(visual, depth)
    torch.manual_seed(1)
    torch.nn.init.normal_(tower.mask_embedding)
    return tower.requires_grad_(False), visual


def regions(count=4):
    """Images; masks that keep all, nothing, one pixel of one patch, and a soft half."""
    torch.manual_seed(2)
    masks = torch.zeros(count, 1, SIDE, SIDE)
    masks[0] = 1
    masks[2, 0, 31, 8] = 1
    masks[3, 0, :17] = 0.01
    return torch.randn(count, 3, SIDE, SIDE), masks


def by_definition(visual, prompts, images, masks):
    kept = F.avg_pool2d(masks, 8, 8).ceil().flatten(1)[..., None]
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    patches = patches * kept + prompts[0] * (1 - kept)
    tokens = torch.cat([visual.class_embedding.expand(len(images), 1, -1), patches], dim=1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)
    for number, block in enumerate(visual.transformer.resblocks, 1):
        tokens = block(tokens)
        if number < len(prompts):
            patches = tokens[:, 1:] * kept + prompts[number] * (1 - kept)
            tokens = torch.cat([tokens[:, :1], patches], dim=1)
    normed = visual.ln_post(tokens)
    pooled = normed[:, 0] if visual.pool_type == 'tok' else normed[:, 1:].mean(1)
    return pooled @ visual.proj


@pytest.mark.parametrize('depth', [1, 2, 3])
@pytest.mark.parametrize('name', ['vit', 'vit_average'])
def test_prompts_stand_for_blank_patches_at_the_input_and_before_the_next_blocks(name, depth):
    tower, visual = prompted(name, depth)
    images, masks = regions()
    expected = by_definition(visual, tower.mask_embedding, images, masks)
    assert torch.allclose(tower(images, masks), expected, atol=1e-5)


@pytest.mark.parametrize('name', ['vit', 'vit_average'])
def test_without_masks_and_with_nothing_blank_it_is_plain_clip(name):
    tower, visual = prompted(name)
    images, _ = regions()
    assert torch.allclose(tower(images), visual(images), atol=1e-5)
    assert torch.equal(tower(images, torch.ones(4, 1, SIDE, SIDE)), tower(images))


def test_a_single_kept_pixel_keeps_its_patch():
    tower, _ = prompted()
    kept = tower.kept_patches(regions()[1])[..., 0]
    assert kept.shape == (4, PATCHES)
    assert kept[0].all() and not kept[1].any()
    assert kept[2].nonzero().tolist() == [[13]]
    assert kept[3].nonzero().flatten().tolist() == list(range(12))
    for dtype in (torch.bool, torch.uint8, torch.float16):
        assert torch.equal(tower.kept_patches(regions()[1][:3].to(dtype))[..., 0], kept[:3])


def test_nothing_of_a_blank_patch_is_seen():
    tower, _ = prompted(depth=1)
    images, masks = regions()
    other = images + 5 * torch.randn_like(images) * (F.max_pool2d(masks, 8) == 0).repeat_interleave(
        8, 2
    ).repeat_interleave(8, 3)
    assert torch.allclose(tower(images, masks), tower(other, masks), atol=1e-5)
    assert not torch.allclose(tower(images)[1:], tower(other)[1:], atol=1e-2)


@pytest.mark.parametrize('count', [0, 1])
def test_no_region_and_a_single_region_are_batches_too(count):
    tower, _ = prompted()
    images, masks = regions()
    alone = tower(images[2 : 2 + count], masks[2 : 2 + count])
    assert alone.shape == (count, 24)
    assert torch.allclose(alone, tower(images, masks)[2 : 2 + count], atol=1e-5)


def test_names_are_those_of_open_clip_and_the_prompts():
    tower, visual = prompted()
    assert isinstance(tower, VisionTransformer)
    assert set(tower.state_dict()) == {*visual.state_dict(), 'mask_embedding'}
    assert tower.mask_embedding.shape == (2, PATCHES, WIDTH)
    assert 'mask_embedding' not in visual.state_dict()
    for name, value in visual.named_parameters():
        assert tower.get_parameter(name) is value
    assert not MaskPromptedViT(visual).mask_embedding.any()


def test_a_copy_is_a_tower_of_its_own():
    tower, _ = prompted()
    images, masks = regions()
    expected = tower(images, masks)
    other = copy.deepcopy(tower)
    torch.nn.init.zeros_(other.proj)
    torch.nn.init.zeros_(other.mask_embedding)
    assert not other(images, masks).any()
    assert torch.equal(tower(images, masks), expected)


def test_the_embedded_clip_takes_prompts():
    visual = load_clip('tiny_clip_scenes', 'embedded').model.visual
    tower = MaskPromptedViT(visual)
    images, masks = regions()
    assert torch.allclose(tower(images), visual(images), atol=1e-4)
    expected = by_definition(visual, tower.mask_embedding, images, masks)
    assert torch.allclose(tower(images, masks), expected, atol=1e-4)


def test_prompts_of_all_depths_are_trained_by_blank_patches_only():
    tower, _ = prompted(depth=3)
    tower.mask_embedding.requires_grad_(True)
    images, masks = regions()
    tower(images[2:3], masks[2:3]).square().sum().backward()
    moved = tower.mask_embedding.grad.abs().sum(-1) > 0
    assert (moved.sum(1) == PATCHES - 1).all() and not moved[:, 13].any()


def test_weights_are_loaded_with_and_without_their_prefix():
    source, _ = prompted()
    images, masks = regions()
    expected = source(images, masks)
    for prefix in ('', 'visual.'):
        state = {f'{prefix}{name}': value.clone() for name, value in source.state_dict().items()}
        if prefix:
            state['positional_embedding'] = torch.zeros(3)  # the text tower's
        torch.manual_seed(7)
        tower = MaskPromptedViT(load_clip(_config(), 'random').model.visual, 2)
        load_mask_prompted(tower, state, 'a file')
        assert torch.equal(tower(images, masks), expected)


def test_prompts_for_one_patch_hold_for_all():
    source, _ = prompted()
    state = source.state_dict()
    state['mask_embedding'] = state['mask_embedding'][:, :1].clone()
    tower, _ = prompted()
    load_mask_prompted(tower, state, 'a file')
    assert torch.equal(tower.mask_embedding, state['mask_embedding'].expand(-1, PATCHES, -1))


def test_a_clip_without_prompts_gets_zeros_only_where_that_is_allowed():
    tower, visual = prompted()
    with pytest.raises(UserError, match="a file have no mask prompts .'mask_embedding'"):
        load_mask_prompted(tower, visual.state_dict(), 'a file')
    assert tower.mask_embedding.any()
    load_mask_prompted(tower, visual.state_dict(), 'a file', allow_missing_prompts=True)
    assert not tower.mask_embedding.any()


def test_weights_that_do_not_fit_are_named():
    tower, _ = prompted(depth=2)
    state = tower.state_dict()
    with pytest.raises(UserError, match='for 3 blocks, the model for 2; set mask_prompt_depth=3'):
        load_mask_prompted(tower, prompted(depth=3)[0].state_dict(), 'a file')
    with pytest.raises(UserError, match='1 missing .proj.'):
        load_mask_prompted(tower, {k: v for k, v in state.items() if k != 'proj'}, 'a file')
    with pytest.raises(UserError, match='1 unexpected .novelty.'):
        load_mask_prompted(tower, {**state, 'novelty': torch.zeros(1)}, 'a file')
    wrong = {**state, 'mask_embedding': torch.zeros(2, 9, WIDTH)}
    with pytest.raises(UserError, match='mask_embedding is .2, 9, 32., wanted .2, 16, 32.'):
        load_mask_prompted(tower, wrong, 'a file')


@pytest.mark.parametrize('depth', [0, 4])
def test_depths_that_the_tower_does_not_have_are_named(depth):
    with pytest.raises(UserError, match=rf'must lie in 1..3 for a CLIP of 3 blocks, got {depth}'):
        prompted(depth=depth)


def test_towers_without_places_for_prompts_are_named():
    with pytest.raises(UserError, match='a ModifiedResNet has none'):
        MaskPromptedViT(tiny_clip('resnet').model.visual)
    config = _config(attentional_pool=True)
    with pytest.raises(UserError, match='pools its patches by class token or average'):
        MaskPromptedViT(load_clip(config, 'random').model.visual)


def test_regions_and_masks_that_do_not_fit_are_named():
    tower, _ = prompted()
    images, masks = regions()
    with pytest.raises(UserError, match=r'regions must be \(32, 32\) pixels .* got \(40, 32\)'):
        tower(torch.zeros(1, 3, 40, 32))
    with pytest.raises(
        UserError, match=r'region masks must be \(N, 1, 32, 32\) .* got \(4, 32, 32\)'
    ):
        tower(images, masks[:, 0])
    with pytest.raises(UserError, match='3 region masks for 4 regions'):
        tower(images, masks[:3])


def _config(**vision):
    return {**VIT, 'vision_cfg': {**VIT['vision_cfg'], **vision}}
