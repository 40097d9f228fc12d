from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_clip_models import MODELS, tiny_clip

from ovseg.encoders import build_dense_encoder
from ovseg.encoders.position import resize_position_embedding
from ovseg.errors import UserError

EVERYTHING = frozenset({'keys', 'queries', 'tokens', 'embedding'})


@pytest.fixture(params=sorted(MODELS), scope='module')
def clip(request):
    return tiny_clip(request.param)


@cache
def encoder_of(name):
    return build_dense_encoder(tiny_clip(name).model.visual)


def grid_of(encoder, height, width):
    if encoder.stride == (32, 32):
        sizes = []
        for side in (max(height, 32), max(width, 32)):
            side = (side + 1) // 2
            for _ in range(4):
                side //= 2
            sizes.append(side)
        return tuple(sizes)
    return -(-height // encoder.stride[0]), -(-width // encoder.stride[1])


@given(height=st.integers(1, 90), width=st.integers(1, 90), batch=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize('name', sorted(MODELS))
def test_any_image_size_gives_a_grid_that_covers_it(name, height, width, batch):
    encoder = encoder_of(name)
    features = encoder(torch.randn(batch, 3, height, width))
    assert features.patch.shape == (batch, 24, *grid_of(encoder, height, width))
    assert torch.isfinite(features.patch).all()


def test_the_embedding_is_open_clips_own_at_the_trained_size(clip):
    encoder = build_dense_encoder(clip.model.visual)
    side = MODELS['vit']['vision_cfg']['image_size']
    side = 64 if encoder.stride == (32, 32) else side
    images = torch.randn(2, 3, side, side)
    ours = encoder(images, frozenset({'embedding'})).embedding
    assert torch.allclose(ours, clip.model.encode_image(images), atol=1e-5)


def test_intermediate_layers_are_those_of_open_clip():
    visual = tiny_clip('vit').model.visual
    images = torch.randn(1, 3, 32, 32)
    ours = build_dense_encoder(visual)(images, layers=(1, 2)).intermediates
    theirs = visual.forward_intermediates(images, indices=[0, 1])['image_intermediates']
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=1e-6)


def test_vanilla_patch_tokens_are_open_clips_own_tokens():
    visual = copy.deepcopy(tiny_clip('vit').model.visual)
    images = torch.randn(1, 3, 32, 32)
    ours = build_dense_encoder(visual, last_block='vanilla')(images, frozenset({'tokens'})).tokens
    visual.output_tokens = True
    _, theirs = visual(images)
    assert torch.allclose(ours.flatten(2).transpose(1, 2), theirs, atol=1e-5)


def test_queries_and_keys_are_not_projected_unless_read(monkeypatch):
    visual = tiny_clip('vit').model.visual
    encoder = build_dense_encoder(visual, last_block='maskclip')
    calls = []
    from ovseg.affinity import last_block

    def counted(values, weight, bias):
        calls.append(weight.shape)
        return values @ weight.T + bias

    monkeypatch.setattr(last_block.F, 'linear', counted)
    block, tokens = visual.transformer.resblocks[-1], torch.randn(1, 5, 32)
    last_block.run_block(block, tokens, encoder.last_block)
    # The value projection, then what torch's own linear layers call: output projection and MLP.
    assert calls[0] == (32, 32) and calls.count((32, 32)) == 2
    calls.clear()
    last_block.run_block(block, tokens, encoder.last_block, with_keys=True)
    assert calls.count((32, 32)) == 4


def test_black_padding_equals_padding_before_normalisation():
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    pixels = torch.rand(1, 3, 29, 35)
    normalise = lambda x: (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)  # noqa: E731
    padded = torch.nn.functional.pad(pixels, (0, 5, 0, 3))
    visual = tiny_clip('vit').model.visual
    encoder = build_dense_encoder(visual, padding='black', mean=mean, std=std)
    assert torch.allclose(
        encoder(normalise(pixels)).patch, encoder(normalise(padded)).patch, atol=1e-6
    )
    plain = build_dense_encoder(visual, padding='mean')
    assert not torch.allclose(plain(normalise(pixels)).patch, encoder(normalise(pixels)).patch)


def test_position_embeddings_are_cached_per_grid_and_renewed_with_the_weights():
    visual = copy.deepcopy(tiny_clip('vit').model.visual)
    encoder = build_dense_encoder(visual)
    images = torch.randn(1, 3, 48, 40)
    first = encoder(images).patch
    assert len(encoder._positions) == 1
    assert torch.equal(encoder(images).patch, first) and len(encoder._positions) == 1
    with torch.no_grad():
        visual.positional_embedding.mul_(2)
    assert not torch.allclose(encoder(images).patch, first)
    for side in range(1, 40):
        encoder(torch.randn(1, 3, 8, 8 * side))
    assert len(encoder._positions) <= 16


def test_position_embeddings_of_an_equal_token_count_stay_as_maskclip_leaves_them():
    embedding = torch.randn(17, 8)
    same_count = resize_position_embedding(embedding, (4, 4), (2, 8), 'token_count')
    assert torch.equal(same_count, embedding)
    resized = resize_position_embedding(embedding, (4, 4), (2, 8), 'always')
    assert resized.shape == embedding.shape and not torch.allclose(resized, embedding)
    assert torch.equal(resized[0], embedding[0])


def test_position_embeddings_are_sampled_by_the_scale_factor_with_its_tenth():
    embedding = torch.randn(1 + 5 * 5, 3)
    planes = embedding[1:].T.unflatten(1, (5, 5))[None]
    for grid in [(1, 1), (3, 7), (14, 9), (28, 28), (64, 128)]:
        factor = ((grid[0] + 0.1) / 5, (grid[1] + 0.1) / 5)
        expected = torch.nn.functional.interpolate(planes, scale_factor=factor, mode='bicubic')
        assert expected.shape[2:] == grid
        ours = resize_position_embedding(embedding, (5, 5), grid, 'scale_factor')
        assert torch.equal(ours[1:].T.unflatten(1, grid), expected[0])
        assert torch.equal(ours[0], embedding[0])
        by_size = resize_position_embedding(embedding, (5, 5), grid, 'always')
        assert not torch.allclose(ours, by_size, atol=1e-4)
    as_many = resize_position_embedding(torch.randn(17, 3), (4, 4), (2, 8), 'scale_factor')
    assert as_many.shape == (17, 3)


def test_the_scale_factor_gives_every_grid_its_size():
    for trained in (7, 14, 16, 24):
        embedding = torch.zeros(1 + trained * trained, 1)
        for side in range(1, 80):
            resized = resize_position_embedding(
                embedding, (trained, trained), (side, 81 - side), 'scale_factor'
            )
            assert len(resized) == 1 + side * (81 - side)


def test_floor_padding_leaves_the_last_partial_patch_out():
    encoder = build_dense_encoder(tiny_clip('vit').model.visual, padding='floor')
    image = torch.randn(2, 3, 31, 44)
    features = encoder(image).patch
    assert features.shape[2:] == (3, 5) and encoder.margins((31, 44)) == (0, 0, 0, 0)
    assert torch.equal(features, encoder(image[..., :24, :40]).patch)
    assert encoder(image[..., :3, :44]).patch.shape[2:] == (1, 5)


def test_centred_padding_says_how_far_the_map_reaches():
    encoder = build_dense_encoder(tiny_clip('vit').model.visual, padding='centred')
    image = torch.randn(2, 3, 29, 38)
    assert encoder.margins((29, 38)) == (1, 2, 1, 1)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 2))
    assert torch.equal(encoder(image).patch, encoder(padded).patch)
    assert encoder.margins((32, 40)) == (0, 0, 0, 0)


def test_the_neighbour_bias_is_kept_for_the_grid_seen_last():
    encoder = build_dense_encoder(tiny_clip('vit').model.visual, last_block='naclip')
    first = encoder(torch.randn(1, 3, 32, 48)) and encoder._bias
    encoder(torch.randn(2, 3, 32, 48))
    assert encoder._bias is first and first[1].shape == (25, 25)
    encoder(torch.randn(1, 3, 48, 32))
    assert encoder._bias is not first
    plain = build_dense_encoder(tiny_clip('vit').model.visual, last_block='sclip')
    plain(torch.randn(1, 3, 32, 48))
    assert plain._bias is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'last_block': 'maskclp'}, "Did you mean 'maskclip'"),
        ({'last_block': {'attention': 'none'}}, 'last_block.attention must be one of'),
        ({'last_block': {'residul': True}}, 'residul'),
        ({'position_resize': 'never'}, 'encoder.position_resize must be one of'),
        ({'padding': 'white'}, 'encoder.padding must be one of'),
        ({'pooling': 'value'}, 'pooling'),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        build_dense_encoder(tiny_clip('vit').model.visual, **settings)


def test_towers_that_cannot_be_read_densely_are_refused():
    with pytest.raises(UserError, match='has no dense encoder'):
        build_dense_encoder(torch.nn.Linear(2, 2))
    pooled = {
        **MODELS['vit'],
        'vision_cfg': {**MODELS['vit']['vision_cfg'], 'attentional_pool': True},
    }
    from ovseg.encoders import load_clip

    with pytest.raises(UserError, match='pools its patches by several learned queries'):
        build_dense_encoder(load_clip(pooled, 'random').model.visual)
