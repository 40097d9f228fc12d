"""Instances: the likeliest pairs of a mask and a class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_instances import find_instances
from ovseg.regions.mask_maps import mask_maps, masks_at

SIZE = (24, 40)


def by_formula(logits, scores, stuff, most):
    """Each pair alone, with the whole masks in memory."""
    maps = mask_maps(logits, SIZE, SIZE)
    masks = masks_at(maps, (48, 80)).whole(MemoryBudget(64))
    pairs = [
        (float(scores[query, label]), query, label)
        for query in range(len(scores))
        for label in range(scores.shape[1])
    ]
    found = []
    for score, query, label in sorted(pairs, key=lambda pair: -pair[0])[:most]:
        inside = masks[query] > 0.5
        if label in stuff or not inside.any():
            continue
        found.append((score * float(masks[query][inside].mean()), label, inside.numpy()))
    return sorted(found, key=lambda each: -each[0])


@pytest.mark.parametrize('megabytes', [0.01, 64])
def test_instances_are_those_of_the_formula_in_any_strips(megabytes):
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(11, 6, 10, generator=generator)
    logits[3] = -9  # a mask without a pixel
    scores = torch.rand(11, 5, generator=generator)
    wanted = by_formula(logits, scores, {1}, 30)
    found = find_instances(
        mask_maps(logits, SIZE, SIZE), scores, (48, 80), MemoryBudget(megabytes), stuff={1}, most=30
    )
    assert found.labels.tolist() == [label for _, label, _ in wanted] and len(wanted) > 10
    assert found.scores.tolist() == pytest.approx([score for score, _, _ in wanted], rel=1e-5)
    for record, (_, _, mask) in zip(found.masks, wanted, strict=True):
        assert np.array_equal(run_lengths.decode(record).astype(bool), mask)


def test_stuff_counts_among_the_likeliest_and_the_background_is_none():
    logits, scores = torch.ones(2, 3, 5), torch.tensor([[0.9, 0.8, 0.7], [0.2, 0.3, 0.4]])
    maps, budget = mask_maps(logits, SIZE, SIZE), MemoryBudget(1)
    found = find_instances(maps, scores, SIZE, budget, stuff={0}, background=1, most=4)
    assert found.labels.tolist() == [2, 2]
    assert not len(find_instances(maps, scores, SIZE, budget, stuff={0}, most=1).labels)


def test_no_mask_is_no_instance_and_scores_belong_to_masks():
    maps, budget = mask_maps(torch.ones(0, 3, 5), SIZE, SIZE), MemoryBudget(1)
    assert find_instances(maps, torch.rand(0, 4), SIZE, budget).masks == ()
    with pytest.raises(UserError, match='0 masks need scores'):
        find_instances(maps, torch.rand(2, 4), SIZE, budget)
