from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg.refiners.mask_vote import majority_labels


@given(seed=st.integers(0, 10_000), classes=st.integers(1, 9), regions=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_each_region_gets_its_mode_and_the_smallest_id_keeps_its_labels(seed, classes, regions):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (7, 9), generator=generator)
    ids = torch.randint(regions, (7, 9), generator=generator) * 3 + 2
    found, wanted = majority_labels(labels, ids), labels.clone()
    for value in ids.unique()[1:]:
        wanted[ids == value] = labels[ids == value].mode().values
    assert torch.equal(found, wanted)


def test_equally_frequent_labels_give_the_smaller_one():
    labels = torch.tensor([[0, 4, 2, 4, 2]])
    assert majority_labels(labels, torch.tensor([[0, 1, 1, 1, 1]])).tolist() == [[0, 2, 2, 2, 2]]
