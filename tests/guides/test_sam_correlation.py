from __future__ import annotations

import pytest
import torch
from tiny_sams import tiny_sam
from torch.nn import functional as F

from ovseg.encoders.sam_encoder import SAMEncoder
from ovseg.guides.sam_correlation import (
    SAMCorrelation,
    aggregate,
    correlation_rows,
    valid_patches,
)

FRAME = (8, 8)


@pytest.fixture(scope='module')
def attention():
    encoder = SAMEncoder(tiny_sam())
    tokens = torch.randn(1, *FRAME, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return encoder.last_attention(tokens)


def plain_matrix(attention, grid, factor, keep_negative):
    """The whole matrix at once, as the paper has it."""
    heads = attention.values.shape[0]
    weights = attention.weights(slice(0, 64)).reshape(heads, *FRAME, *FRAME)
    weights = weights[:, : grid[0], : grid[1], : grid[0], : grid[1]].flatten(3).flatten(1, 2)
    values = attention.values.reshape(heads, *FRAME, -1)[:, : grid[0], : grid[1]].flatten(1, 2)
    units = F.normalize(values, dim=-1)
    cosine = units @ units.transpose(1, 2)
    least = factor * cosine.mean((0, 2))
    if not keep_negative:
        least[least < 0] = 0.6
    kept = torch.where(cosine > least.clamp_max(0.9)[:, None], weights, 0.0).mean(0)
    return kept / kept.sum(1, keepdim=True)


@pytest.mark.parametrize('grid', [(8, 8), (5, 8), (8, 3), (1, 1)])
@pytest.mark.parametrize(('factor', 'keep'), [(1.2, True), (0.0, True), (3.0, False)])
@pytest.mark.parametrize('at_once', [1, 7, 64])
def test_blocks_make_the_plain_matrix(attention, grid, factor, keep, at_once):
    settings = SAMCorrelation(factor, keep)
    blocks = list(correlation_rows(attention, valid_patches(FRAME, grid), settings, at_once))
    assert max(len(rows) for _, rows, _ in blocks) <= at_once
    ours = torch.cat([rows for _, rows, _ in blocks])
    wanted = plain_matrix(attention, grid, factor, keep)
    assert torch.allclose(ours, wanted, atol=1e-6)


@pytest.mark.parametrize('at_once', [3, 64])
def test_features_are_pooled_and_sams_own_attention_is_finished_on_the_way(attention, at_once):
    features = torch.randn(1, 5, 4, 8, generator=torch.Generator().manual_seed(4))
    done = aggregate(attention, features, FRAME, SAMCorrelation(), at_once, with_mixed=True)
    wanted = plain_matrix(attention, (4, 8), 1.2, True) @ features[0].flatten(1).T
    assert torch.allclose(done.features[0].flatten(1).T, wanted, atol=1e-5)
    assert torch.allclose(done.mixed, attention.apply(64), atol=1e-6)
    alone = aggregate(attention, features, FRAME, SAMCorrelation(), at_once, with_mixed=False)
    assert alone.mixed is None and torch.equal(alone.features, done.features)


def test_negative_thresholds_are_replaced_where_asked():
    # Three patches apart by 120 degrees: a patch's mean cosine to all is 0, and below for two.
    units = torch.tensor([[[1.0, 0.0], [-0.9, 0.4359], [-0.9, -0.4359]]])
    kept = SAMCorrelation(1.0, True).thresholds(units)
    replaced = SAMCorrelation(1.0, False).thresholds(units)
    assert kept[0] < 0 < kept[1]
    assert replaced[0] == 0.6 and torch.equal(replaced[1:], kept[1:])
