"""Convolutional vision towers: each place of the last map projected by itself."""

from __future__ import annotations

import pytest
import torch
from tiny_timm_towers import CONVOLUTIONAL, convolutional_tower

from ovseg.encoders import build_dense_encoder
from ovseg.errors import UserError

BOTH = frozenset({'tokens', 'embedding'})


def pictures(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('size', [(64, 64), (75, 130)])
@pytest.mark.parametrize('name', CONVOLUTIONAL)
@torch.no_grad()
def test_map_and_embedding_are_the_packages_own(name, size):
    visual, images = convolutional_tower(name), pictures(*size)
    features = build_dense_encoder(visual)(images, BOTH, layers=(1, 4))
    assert torch.allclose(features.tokens, visual.trunk.forward_features(images), atol=1e-6)
    assert torch.allclose(features.embedding, visual(images), atol=1e-6)
    assert features.patch.shape == (2, 24, *features.tokens.shape[2:])
    first, last = features.intermediates
    assert first.shape[3] // last.shape[3] in (6, 8) and last.shape[2:] == features.patch.shape[2:]


@torch.no_grad()
def test_a_linear_heads_embedding_is_the_maps_average():
    features = build_dense_encoder(convolutional_tower('mobileclip-s'))(pictures(96, 64), BOTH)
    assert torch.allclose(features.patch.mean(dim=(2, 3)), features.embedding, atol=1e-5)
    assert features.patch.std(dim=(2, 3)).min() > 1e-4  # its places differ


@torch.no_grad()
def test_a_heads_norm_is_taken_at_each_place():
    visual, images = convolutional_tower('convnext'), pictures(64, 96)
    features = build_dense_encoder(visual)(images, BOTH)
    for row in range(2):
        for column in range(3):
            place = features.tokens[:, :, row : row + 1, column : column + 1]
            alone = visual.head(visual.trunk.forward_head(place))
            assert torch.allclose(features.patch[:, :, row, column], alone, atol=1e-6)


def test_settings_of_a_last_block_are_refused():
    for settings in ({'last_block': 'maskclip'}, {'padding': 'mean', 'pooling': 'value'}):
        with pytest.raises(UserError, match='FastVit has none: remove') as caught:
            build_dense_encoder(convolutional_tower('mobileclip-s'), **settings)
        assert '\n' not in str(caught.value)
    encoder = build_dense_encoder(convolutional_tower('convnext'), mean=(0,) * 3, std=(1,) * 3)
    with pytest.raises(UserError, match='no attention at its end, so no keys'):
        encoder(pictures(32, 32), frozenset({'keys'}))
    with pytest.raises(UserError, match="pools by 'max'"):
        build_dense_encoder(convolutional_tower('convnext', global_pool='max'))
