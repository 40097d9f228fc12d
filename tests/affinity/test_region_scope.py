from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ovseg.affinity.region_scope import (
    PADDING_REGION,
    linked_groups,
    merge_regions,
    region_distances,
    resize_regions,
    scoped_affinity,
)
from ovseg.affinity.region_tokens import region_membership, region_token_bias


def plain_affinity(features, regions, temperature):
    """Pair by pair, as the method says it."""
    units = F.normalize(features.flatten(1).T, dim=1)
    similarity, ids = units @ units.T, regions.flatten().tolist()
    logits, mean = similarity * temperature, similarity.mean()
    for i, first in enumerate(ids):
        for j, second in enumerate(ids):
            touches_unclaimed = min(ids) in (first, second)
            seen = similarity[i, j] > mean if touches_unclaimed else first == second
            if not (seen or i == j):
                logits[i, j] = -float('inf')
    return logits.softmax(1)


@pytest.mark.parametrize('ids', [(0, 3, 7), (4, 9, 12), (5, 5, 5)])
def test_affinity_is_the_plain_rule(ids):
    generator = torch.Generator().manual_seed(sum(ids))
    features = torch.randn(2, 6, 3, 4, generator=generator)
    regions = torch.tensor(ids)[torch.randint(3, (2, 3, 4), generator=generator)]
    found = scoped_affinity(features, regions, temperature=4.0)
    for index in range(2):
        wanted = plain_affinity(features[index], regions[index], 4.0)
        assert torch.allclose(found[index], wanted, atol=1e-6)
    assert torch.allclose(found.sum(2), torch.ones(2, 12))


def test_patches_that_are_all_alike_see_themselves():
    affinity = scoped_affinity(torch.ones(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert torch.equal(affinity[0], torch.eye(4))


def test_regions_do_not_mix():
    regions = torch.tensor([[[1, 1, 2, 2, 0]]])
    affinity = scoped_affinity(torch.rand(1, 4, 1, 5), regions)[0]
    assert affinity[:2, 2:4].abs().sum() == 0 and affinity[2:4, :2].abs().sum() == 0


@given(
    positions=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    reach=st.integers(0, 12),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_chains_of_near_ones(positions, reach):
    values = torch.tensor(positions, dtype=torch.float64)
    found = linked_groups((values[:, None] - values).abs(), reach).tolist()
    order = sorted(range(len(positions)), key=positions.__getitem__)
    group, wanted = 0, {order[0]: 0}
    for before, after in zip(order, order[1:], strict=False):
        group += positions[after] - positions[before] > reach
        wanted[after] = group
    for i in range(len(positions)):
        for j in range(len(positions)):
            assert (found[i] == found[j]) == (wanted[i] == wanted[j])
    firsts = [found.index(number) for number in range(max(found) + 1)]
    assert firsts == sorted(firsts)


def test_like_regions_become_one_and_the_smallest_stays_by_itself():
    directions = torch.eye(3)[torch.tensor([0, 0, 1, 2, 1])].T
    features = directions[None, :, None].repeat(1, 1, 2, 1)
    regions = torch.tensor([[[0, 4, 6, 9, 11]] * 2])
    merged = merge_regions(features, regions, reach=0.2)[0, 0].tolist()
    # 6 and 11 look alike; 4 looks like 0, which is what nothing claimed.
    assert merged[0] == 0 and merged[2] == merged[4]
    assert len({merged[0], merged[1], merged[2], merged[3]}) == 4


def test_two_regions_are_left_alone():
    regions = torch.tensor([[[3, 8]]])
    assert merge_regions(torch.ones(1, 2, 1, 2), regions, 0.2).tolist() == [[[0, 1]]]


def test_distances_are_between_mean_features():
    generator = torch.Generator().manual_seed(0)
    units = F.normalize(torch.randn(5, 2, 4, generator=generator), dim=0)
    regions = torch.tensor([[2, 2, 5, 5], [7, 5, 7, 2]])
    means = [F.normalize(units[:, regions == value].mean(1), dim=0) for value in (5, 7)]
    cosines = torch.stack([a @ b for a in means for b in means]).view(2, 2)
    wanted = cosines.max() - cosines
    assert torch.allclose(region_distances(units, regions), wanted, atol=1e-6)


def test_resizing_keeps_ids_apart_up_to_the_padding():
    regions = torch.tensor([[[PADDING_REGION, PADDING_REGION - 1], [0, 1]]])
    found = resize_regions(regions, (4, 6))
    assert torch.equal(found[0, ::2, ::3], regions[0]) and found.shape == (1, 4, 6)


def test_membership_of_maps_with_different_numbers_of_regions():
    regions = torch.tensor([[[5, 5, 9]], [[2, 2, 2]]])
    membership, index = region_membership(regions)
    assert membership.int().tolist() == [[[1, 1, 0], [0, 0, 1]], [[1, 1, 1], [0, 0, 0]]]
    assert index.tolist() == [[[0, 0, 1]], [[0, 0, 0]]]


def test_region_tokens_see_the_class_token_and_their_patches_only():
    membership = torch.tensor([[[True, False], [False, True]]])
    bias = region_token_bias(membership, torch.float32)[0, 0]
    # Rows and columns: two region tokens, class token, two patches.
    assert (bias == 0).int().tolist() == [
        [0, 0, 1, 1, 0],
        [0, 0, 1, 0, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
    ]
