"""Vision towers of timm's, opened: their own output rebuilt, and any last block on any of them."""

from __future__ import annotations

import pytest
import torch
from tiny_companions import DINO
from tiny_timm_towers import TOWERS, timm_tower

from ovseg.affinity import LAST_BLOCKS
from ovseg.encoders import build_dense_encoder
from ovseg.encoders.towers import open_tower
from ovseg.errors import UserError

SIZES = ((32, 32), (24, 56), (8, 16))
EVERYTHING = frozenset({'tokens', 'embedding', 'keys', 'queries'})


def pictures(size, count=2):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(2))


def close(ours, theirs, share=1e-5):
    return torch.allclose(ours, theirs, rtol=0, atol=share * float(theirs.abs().max()))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', TOWERS)
@torch.no_grad()
def test_the_plain_last_block_gives_what_the_package_gives_on_any_grid(name, size):
    images = pictures(size)
    trunk = timm_tower(name, dynamic_img_size=True)
    # Ours is built for one size: nothing is asked of timm's own way to take others.
    features = build_dense_encoder(timm_tower(name), last_block='vanilla')(images, EVERYTHING)
    theirs = trunk.forward_features(images)[:, trunk.num_prefix_tokens :]
    assert close(features.tokens.flatten(2).transpose(1, 2), theirs)
    assert close(features.embedding, trunk(images))
    assert features.keys.shape == features.queries.shape == theirs.shape


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', TOWERS)
@torch.no_grad()
def test_in_half_precision_it_stays_near(name, dtype):
    images = pictures((24, 40))
    exact = build_dense_encoder(timm_tower(name), last_block='vanilla')(images).patch
    encoder = build_dense_encoder(timm_tower(name), last_block='vanilla').to(dtype)
    rounded = encoder(images).patch.float()
    assert torch.isfinite(rounded).all()
    assert torch.cosine_similarity(exact, rounded, dim=1).min() > 0.99


@pytest.mark.parametrize('name', ['siglip', 'perception encoder'])
@torch.no_grad()
def test_a_patch_is_pooled_as_the_head_pools_it_alone(name):
    trunk, images = timm_tower(name), pictures((32, 32))
    features = build_dense_encoder(trunk, last_block='vanilla')(images, frozenset({'tokens'}))
    tokens = features.tokens.flatten(2).transpose(1, 2)
    for place in range(tokens.shape[1]):
        alone = trunk.head(trunk.fc_norm(trunk.attn_pool(tokens[:, place : place + 1])))
        assert close(features.patch.flatten(2)[:, :, place], alone)


@torch.no_grad()
def test_a_patch_by_itself_has_only_its_own_values():
    trunk, images = timm_tower('siglip'), pictures((8, 8))
    attended, alone = (
        build_dense_encoder(trunk, last_block=block)(images).patch
        for block in ('vanilla', 'maskclip')
    )
    assert close(alone, attended)


@pytest.mark.parametrize('preset', sorted(set(LAST_BLOCKS) - {'resclip'}))
@pytest.mark.parametrize('name', TOWERS)
@torch.no_grad()
def test_every_last_block_runs_on_every_tower(name, preset):
    encoder = build_dense_encoder(timm_tower(name), last_block=preset)
    features = encoder(pictures((20, 41))).patch
    assert features.shape == (2, 24, 3, 6) and torch.isfinite(features).all()
    if preset != 'vanilla':
        plain = build_dense_encoder(timm_tower(name), last_block='vanilla')
        assert not close(features, plain(pictures((20, 41))).patch, 1e-3)


@pytest.mark.parametrize('name', TOWERS)
@torch.no_grad()
def test_a_companion_mixes_the_values_of_every_tower(name):
    encoder = build_dense_encoder(timm_tower(name), type='ProxyCLIPEncoder', companion=DINO)
    features = encoder(pictures((32, 48))).patch
    assert features.shape[:2] == (2, 24) and torch.isfinite(features).all()


@torch.no_grad()
def test_region_tokens_copy_the_class_token_where_there_is_one():
    settings = {'type': 'CorrCLIPEncoder', 'companion': DINO, 'spatial_blocks': 1}
    for name in ('tipsv2', 'eva-02'):
        features = build_dense_encoder(timm_tower(name), **settings)(pictures((32, 32))).patch
        assert torch.isfinite(features).all()
    with pytest.raises(UserError, match='copies of a class token, and this model has none'):
        build_dense_encoder(timm_tower('siglip'), **settings)


@torch.no_grad()
def test_a_side_between_two_patches_is_stretched():
    encoder = build_dense_encoder(timm_tower('tipsv2'), padding='stretch')
    images = pictures((27, 33))
    stretched = torch.nn.functional.interpolate(images, (32, 40), mode='bicubic')
    assert torch.equal(encoder(images).patch, encoder(stretched).patch)
    assert encoder.margins((27, 33)) == (0, 0, 0, 0)


@torch.no_grad()
def test_other_weights_give_other_positions():
    trunk, images = timm_tower('siglip'), pictures((24, 40))
    encoder = build_dense_encoder(trunk)
    before = encoder(images).patch
    trunk.pos_embed.mul_(2)
    assert not close(encoder(images).patch, before, 1e-3)


def test_towers_without_a_place_for_patches_are_refused():
    for changes in ({'global_pool': 'max'}, {'global_pool': 'prr'}):
        with pytest.raises(UserError, match='no place in the text space'):
            open_tower(timm_tower('mobileclip', **changes))
    with pytest.raises(UserError, match='has a gate or keys that heads share'):
        build_dense_encoder(timm_tower('perception encoder', num_kv_heads=2, qkv_fused=False))
    with pytest.raises(UserError, match='EvaBlockPostNorm, which cannot be run densely'):
        build_dense_encoder(timm_tower('eva, fused with biases', use_post_norm=True))
