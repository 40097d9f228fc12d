from __future__ import annotations

import pytest
import torch
from tiny_clip_models import tiny_clip
from tiny_companions import COMPANIONS, DINO
from torch.nn import functional as F

from ovseg.encoders import build_dense_encoder
from ovseg.errors import UserError

STATISTICS = {'mean': (0.4, 0.5, 0.6), 'std': (0.2, 0.3, 0.25)}


def encoder_of(name='dino', visual=None, **settings):
    visual = tiny_clip('vit').model.visual if visual is None else visual
    torch.manual_seed(0)
    settings = {'companion': COMPANIONS[name], 'position_resize': 'scale_factor', **settings}
    return build_dense_encoder(visual, type='ProxyCLIPEncoder', **STATISTICS, **settings)


def test_features_are_the_plain_formula_head_by_head():
    encoder = encoder_of(beta=1.1, gamma=5.0)
    visual, image = encoder.clip.visual, torch.randn(1, 3, 32, 32)
    pixels = image * torch.tensor(STATISTICS['std']).view(3, 1, 1)
    pixels = pixels + torch.tensor(STATISTICS['mean']).view(3, 1, 1)
    units = F.normalize(encoder.companion(pixels)[0].flatten(1).T, dim=1)
    similarity = units @ units.T
    logits = 5.0 * (similarity - 1.1 * similarity.mean())
    attention = logits.masked_fill((logits < 0) & ~torch.eye(64, dtype=bool), -float('inf'))
    block = visual.transformer.resblocks[-1]
    tokens, grid, _ = encoder.clip.trunk(image)
    values = block.ln_1(tokens)[:, 1:] @ block.attn.in_proj_weight[64:].T
    values = (values + block.attn.in_proj_bias[64:]).transpose(1, 2).unflatten(2, grid)
    heads = []
    for head in values.chunk(4, dim=1):
        head = F.interpolate(head, size=(8, 8), mode='bilinear', align_corners=False)
        heads.append(attention.softmax(1) @ head[0].flatten(1).T)
    tokens = visual.ln_post(block.attn.out_proj(torch.cat(heads, 1))) @ visual.proj
    assert torch.allclose(encoder(image).patch[0].flatten(1).T, tokens, atol=1e-5)


def test_patches_that_are_all_alike_give_numbers():
    features = encoder_of()(torch.zeros(1, 3, 32, 32)).patch
    assert torch.isfinite(features).all()


def test_a_padding_multiple_that_is_no_multiple_of_the_patch_leaves_a_partial_patch_out():
    encoder = encoder_of(padding='centred', padding_multiple=20)
    image = torch.randn(1, 3, 33, 20)
    assert encoder.pad(image).shape[-2:] == (40, 20)
    assert encoder.clip.trunk(encoder.pad(image))[1] == (5, 2)
    assert encoder(image).patch.shape[-2:] == (10, 5)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'gamma': 0}, 'gamma of the proxy attention must be positive'),
        ({'padding': 'centred', 'padding_multiple': 4}, 'no smaller than the patch'),
        ({'last_block': 'naclip'}, 'encoder: .*last_block'),
    ],
)
def test_bad_settings_are_one_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        encoder_of(**settings)


def test_what_a_refiner_asks_for_in_vain_is_named():
    with pytest.raises(UserError, match='ProxyCLIPEncoder has no keys'):
        encoder_of()(torch.randn(1, 3, 32, 32), frozenset({'keys'}))


def test_a_resnet_has_no_values_to_mix():
    visual = tiny_clip('resnet').model.visual
    with pytest.raises(UserError, match='ModifiedResNet'):
        build_dense_encoder(visual, type='ProxyCLIPEncoder', companion=DINO)
