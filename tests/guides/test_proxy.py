from __future__ import annotations

import torch
from torch.nn import functional as F

from ovseg.affinity.proxy import mean_similarity, mix_values, proxy_affinity


def cosines(features):
    units = F.normalize(features.flatten(2), dim=1)
    return units.transpose(1, 2) @ units


def test_mean_similarity_is_the_mean_of_all_pairs():
    features = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    wanted = cosines(features).mean((1, 2))
    assert torch.allclose(mean_similarity(features), wanted, atol=1e-6)


def test_pairs_below_the_ordinary_get_nothing_and_rows_sum_to_one():
    features = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(1))
    mean, similarity = torch.tensor([0.1, 0.3]), cosines(features)
    affinity = proxy_affinity(features, mean, beta=1.2, gamma=3.0)
    assert torch.allclose(affinity.sum(2), torch.ones(2, 12))
    assert torch.equal(affinity > 0, similarity > 1.2 * mean[:, None, None])
    kept = (3 * (similarity - 1.2 * mean[:, None, None])).exp() * (affinity > 0)
    assert torch.allclose(affinity, kept / kept.sum(2, keepdim=True), atol=1e-6)


def test_patches_that_are_all_alike_see_themselves_only():
    features = torch.ones(1, 3, 2, 2)
    affinity = proxy_affinity(features, mean_similarity(features), beta=1.2)
    assert torch.equal(affinity[0], torch.eye(4))


def test_values_are_resized_to_the_companions_grid_and_mixed():
    values = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(2))
    resized = F.interpolate(values, size=(4, 6), mode='bilinear', align_corners=False)
    assert torch.equal(mix_values(values, torch.eye(24)[None], (4, 6)), resized)
    everything = torch.full((1, 6, 6), 1 / 6)
    mixed = mix_values(values, everything, (2, 3))
    assert torch.allclose(mixed, values.mean((2, 3), keepdim=True).expand_as(values), atol=1e-6)
