from __future__ import annotations

from functools import cache

import pytest
import torch
from registered import build, check_table, half, noise, unchanged

from ovseg.encoders.dense import DenseFeatures
from ovseg.guides import apply_guide

VIT = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
DINO = {'model': VIT, 'pretrained': 'random'}
TABLE = {
    'DINOiserGuide': [
        {'in_channels': 12, 'channels': 6},
        {'in_channels': 12, 'channels': 6, 'reads': 'patch'},
    ],
    'DINOTeacher': [
        {'dino': DINO, 'found': {'dino': DINO, 'decoder': 'random'}},
        {'dino': DINO, 'quantity': 'keys'},
    ],
}
CASES = [(name, number) for name, rows in TABLE.items() for number in range(len(rows))]
OPTIONAL = {'keys', 'queries', 'tokens', 'embedding', 'mlp_input'}


@cache
def guide_of(name, number):
    return build(name, **TABLE[name][number])


def features_of(batch, height, width):
    """Features of patches of 8 pixels, and images in [0, 1]."""
    patch, inner = (noise(batch, 12, height, width, seed=seed) for seed in (1, 2))
    image = noise(batch, 3, 8 * height, 8 * width, seed=3).sigmoid()
    return DenseFeatures(patch=patch, mlp_input=inner), image


def part_of(features, index):
    one = slice(index, index + 1)
    return DenseFeatures(patch=features.patch[one], mlp_input=features.mlp_input[one])


def test_every_registered_guide_is_here():
    check_table('guide', TABLE, 'TABLE of this file')


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_any_grid_and_batch_gives_weights_to_pool_by(case):
    guide = guide_of(*case)
    assert guide.needs <= OPTIONAL
    for batch, height, width in [(1, 1, 1), (2, 1, 7), (3, 2, 5)]:
        features, image = features_of(batch, height, width)
        guidance = guide(features, image)
        count = height * width
        assert guidance.affinity.shape == (batch, count, count)
        assert guidance.affinity.min() >= 0 and (guidance.affinity.sum(2) > 0).all()
        if guidance.foreground is not None:
            assert guidance.foreground.shape == (batch, 1, height, width)
            assert guidance.foreground.min() >= 0 and guidance.foreground.max() <= 1
        guided = apply_guide(guide, features, image)
        assert guided.patch.shape == features.patch.shape and torch.isfinite(guided.patch).all()
        # Means over patches leave what all patches have in common.
        low, high = (extreme(features.patch, (2, 3)) for extreme in (torch.amin, torch.amax))
        assert (guided.patch >= low[..., None, None] - 1e-4).all()
        assert (guided.patch <= high[..., None, None] + 1e-4).all()


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_an_image_is_guided_alike_alone_and_in_a_batch_and_nothing_changes(case):
    guide, (features, image) = guide_of(*case), features_of(3, 3, 4)
    before = features.patch.clone(), features.mlp_input.clone(), image.clone()
    with unchanged(guide):
        together = guide(features, image)
        for index in range(3):
            alone = guide(part_of(features, index), image[index : index + 1])
            assert torch.allclose(together.affinity[index], alone.affinity[0], atol=1e-5)
            if together.foreground is not None:
                assert torch.allclose(together.foreground[index], alone.foreground[0], atol=1e-5)
    assert torch.equal(features.patch, before[0]) and torch.equal(features.mlp_input, before[1])
    assert torch.equal(image, before[2])


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_half_precision_pools_nearly_alike(case):
    guide, (features, image) = guide_of(*case), features_of(2, 3, 4)
    exact = apply_guide(guide, features, image).patch.flatten(2)
    with half():
        rough = apply_guide(guide, features, image).patch.flatten(2).float()
    assert torch.cosine_similarity(exact, rough, dim=1).min() > 0.9
