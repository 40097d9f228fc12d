from __future__ import annotations

from functools import cache

import pytest
import torch
from registered import SIZES, check_table, half, noise, unchanged
from tiny_clip_models import MODELS, VIT, tiny_clip
from tiny_companions import COMPANIONS, DINO
from tiny_timm_towers import CONVOLUTIONAL, convolutional_tower, timm_tower
from tiny_timm_towers import TOWERS as TIMM_TOWERS

from ovseg.encoders import build_dense_encoder

STATISTICS = {'mean': (0.4, 0.5, 0.6), 'std': (0.2, 0.3, 0.25)}
CENTRED = {'padding': 'centred', 'padding_multiple': 16, 'position_resize': 'scale_factor'}
# Registered encoders: settings of small ones.
TABLE = {
    'MixedCLIPEncoder': [{'companion': DINO, 'mixer': {'type': 'ProxyAttention'}}],
    'ProxyCLIPEncoder': [
        *({'companion': companion, **CENTRED} for companion in COMPANIONS.values()),
        {'companion': DINO, 'residual': True, 'ffn': True},
    ],
    'CorrCLIPEncoder': [
        {'companion': companion, 'spatial_blocks': 1, **CENTRED}
        for companion in (DINO, COMPANIONS['sam'])
    ],
}
# Encoders that a tower finds by itself: the tower, and settings.
TOWERS = {
    'CLIPViTEncoder': [
        ('vit', {}),
        ('vit', {'last_block': 'maskclip', 'padding': 'black'}),
        ('vit', {'last_block': 'naclip', 'padding': 'centred'}),
        ('vit_average', {'position_resize': 'scale_factor', 'padding': 'floor'}),
        ('siglip', {'padding': 'stretch'}),
        ('tipsv2', {'last_block': 'naclip'}),
        ('perception encoder', {'last_block': 'sclip'}),
    ],
    'CLIPResNetEncoder': [('resnet', {}), ('resnet', {'pooling': 'attention'})],
    'CLIPConvEncoder': [(name, {}) for name in CONVOLUTIONAL],
}
CASES = {
    **{
        f'{name}-{number}': ('vit', {'type': name, **STATISTICS, **settings})
        for name, rows in TABLE.items()
        for number, settings in enumerate(rows)
    },
    **{
        f'{name}-{number}': (tower, {**(STATISTICS if 'vit' in tower else {}), **settings})
        for name, rows in TOWERS.items()
        for number, (tower, settings) in enumerate(rows)
    },
}
OPTIONAL = ('keys', 'queries', 'tokens', 'embedding')


@cache
def encoder_of(case):
    tower, settings = CASES[case]
    if tower in CONVOLUTIONAL:
        visual = convolutional_tower(tower)
    else:
        visual = timm_tower(tower) if tower in TIMM_TOWERS else tiny_clip(tower).model.visual
    torch.manual_seed(0)
    return build_dense_encoder(visual, **settings).eval()


def outputs_of(case):
    """What this encoder can be asked for."""
    name = case.split('-')[0]
    if name == 'CLIPConvEncoder':
        return frozenset({'tokens', 'embedding'})
    return frozenset() if name in TABLE else frozenset(OPTIONAL)


def test_every_registered_encoder_and_every_tower_is_here():
    check_table('dense encoder', TABLE, 'TABLE of this file')
    assert {tower for rows in TOWERS.values() for tower, _ in rows} >= set(MODELS)
    assert {type(encoder_of(case)).__name__ for case in CASES} == {*TABLE, *TOWERS}


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_any_size_gives_finite_features_on_the_grid_that_stride_and_margins_promise(case):
    encoder = encoder_of(case)
    for size in SIZES:
        images = noise(2, 3, *size)
        features = encoder(images).patch
        assert features.shape[:2] == (2, encoder.embed_dim)
        assert features.shape[1] == VIT['embed_dim']
        assert torch.isfinite(features).all(), size
        padded = tuple(encoder.pad(images).shape[-2:])
        top, bottom, left, right = encoder.margins(size)
        assert min(top, bottom, left, right) >= 0
        if encoder.has_patch_grid:
            rows, columns = encoder.stride
            assert features.shape[2:] == (padded[0] // rows, padded[1] // columns), size
        if any((top, bottom, left, right)):
            assert (top + size[0] + bottom, left + size[1] + right) == padded, size


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_an_image_is_encoded_alike_alone_and_in_a_batch(case):
    encoder, outputs = encoder_of(case), outputs_of(case)
    images = noise(3, 3, 45, 70)
    together = encoder(images, outputs)
    for index in range(3):
        alone = encoder(images[index : index + 1], outputs)
        for name in ('patch', *outputs):
            theirs, ours = getattr(together, name)[index], getattr(alone, name)[0]
            assert torch.allclose(theirs, ours, atol=1e-4), name


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_optional_outputs_come_only_when_asked_for_and_change_no_features(case):
    encoder, images = encoder_of(case), noise(1, 3, 40, 48)
    plain = encoder(images)
    assert all(getattr(plain, name) is None for name in OPTIONAL) and plain.intermediates == ()
    asked = encoder(images, outputs_of(case))
    assert torch.allclose(asked.patch, plain.patch, atol=1e-5)
    positions = plain.patch.shape[2] * plain.patch.shape[3]
    for name in outputs_of(case) & {'keys', 'queries'}:
        assert getattr(asked, name).shape[:2] == (1, positions)


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_neither_the_images_nor_anything_of_the_encoder_changes(case):
    encoder, images = encoder_of(case), noise(2, 3, 24, 40)
    before = images.clone()
    with unchanged(encoder):
        first = encoder(images, outputs_of(case)).patch
        encoder(noise(1, 3, 64, 33))
    assert torch.equal(images, before)
    assert torch.equal(encoder(images, outputs_of(case)).patch, first)


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_features(case):
    encoder, images = encoder_of(case), noise(2, 3, 40, 48)
    exact = encoder(images).patch.flatten(2)
    with half():
        rough = encoder(images).patch.flatten(2).float()
    assert torch.cosine_similarity(exact, rough, dim=1).min() > 0.98


@pytest.mark.parametrize('case', CASES)
def test_features_serve_a_loss_after_they_were_computed_without_gradients(case):
    encoder, images = encoder_of(case), noise(1, 3, 40, 48)
    with torch.inference_mode():
        first = encoder(images).patch
    images.requires_grad_()
    again = encoder(images).patch
    assert torch.allclose(again, first, atol=1e-5)
    again.square().sum().backward()
    assert images.grad.abs().sum() > 0
