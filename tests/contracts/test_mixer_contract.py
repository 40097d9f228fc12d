from __future__ import annotations

import pytest
import torch
from registered import build, check_table, half, noise, unchanged
from tiny_clip_models import tiny_clip

from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.guides.mixer import Look

TABLE = {
    'ProxyAttention': [{}, {'residual': True, 'ffn': True}],
    'RegionMixer': [{'spatial_blocks': 1}, {'spatial_blocks': 1, 'merge_distance': None}],
}
CASES = [(name, number) for name, rows in TABLE.items() for number in range(len(rows))]
WIDTH = 32  # of the tiny CLIP's tokens


@pytest.fixture(scope='module')
def clip():
    return CLIPViTEncoder(tiny_clip('vit').model.visual, 'value', position_resize='scale_factor')


def look_at(batch, grid, with_regions):
    generator = torch.Generator().manual_seed(4)
    regions = None
    if with_regions:
        regions = torch.randint(4, (batch, *grid), generator=generator)
        regions[0] = 0  # an image of which nothing is claimed
    return Look(noise(batch, 5, *grid, seed=5), regions)


def part_of(look, index):
    one = slice(index, index + 1)
    return Look(look.features[one], None if look.regions is None else look.regions[one])


def test_every_registered_mixer_is_here():
    check_table('mixer', TABLE, 'TABLE of this file')


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('with_regions', [False, True])
@torch.no_grad()
def test_tokens_lie_on_the_grid_of_the_look_whatever_that_of_clip(case, with_regions, clip):
    mixer = build(case[0], **TABLE[case[0]][case[1]])
    for size, grid in [((8, 8), (1, 1)), ((8, 40), (2, 9)), ((32, 24), (8, 6)), ((48, 32), (3, 5))]:
        tokens = mixer(clip, noise(2, 3, *size), look_at(2, grid, with_regions))
        assert tokens.shape == (2, WIDTH, *grid) and torch.isfinite(tokens).all()
    assert isinstance(mixer.normed, bool)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('with_regions', [False, True])
@torch.no_grad()
def test_a_window_is_mixed_alike_alone_and_in_a_batch_and_nothing_changes(case, with_regions, clip):
    mixer = build(case[0], **TABLE[case[0]][case[1]])
    images, look = noise(3, 3, 32, 24), look_at(3, (8, 6), with_regions)
    before = look.features.clone()
    with unchanged(clip), unchanged(mixer):
        together = mixer(clip, images, look)
        for index in range(3):
            alone = mixer(clip, images[index : index + 1], part_of(look, index))
            assert torch.allclose(together[index], alone[0], atol=1e-4)
    assert torch.equal(look.features, before)


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_what_the_companion_sees_decides_what_is_mixed(case, clip):
    mixer = build(case[0], **TABLE[case[0]][case[1]])
    images, look = noise(1, 3, 32, 24), look_at(1, (4, 3), False)
    alike = Look(torch.ones_like(look.features))
    assert not torch.allclose(mixer(clip, images, look), mixer(clip, images, alike), atol=1e-3)


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_half_precision_mixes_nearly_alike(case, clip):
    mixer = build(case[0], **TABLE[case[0]][case[1]])
    images, look = noise(2, 3, 32, 24), look_at(2, (8, 6), True)
    exact = mixer(clip, images, look).flatten(2)
    with half():
        rough = mixer(clip, images, look).flatten(2).float()
    assert torch.cosine_similarity(exact, rough, dim=1).min() > 0.97
