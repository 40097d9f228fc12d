from __future__ import annotations

import pytest
import torch

from ovseg.errors import UserError
from ovseg.training.heads.score_map import join_score_map, score_map


def test_score_map_survives_a_zero_vector():
    scores = score_map(torch.zeros(1, 4, 2, 2), torch.ones(1, 3, 4))
    assert torch.equal(scores, torch.zeros(1, 3, 2, 2))


def test_the_score_map_joins_one_level_only():
    levels = [torch.randn(2, 4, 8, 8), torch.randn(2, 5, 4, 4)]
    scores = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    joined = join_score_map(levels, scores, 1)
    assert joined[0] is levels[0] and len(levels) == 2 and levels[1].shape[1] == 5
    assert torch.equal(joined[1], torch.cat([levels[1], scores.float()], 1))


@pytest.mark.parametrize('index', [0, 2, -1])
def test_a_level_of_another_grid_is_refused_and_the_right_one_named(index):
    levels = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4)]
    with pytest.raises(UserError, match=rf'score_concat_index={index}, .*set it to 1'):
        join_score_map(levels, torch.zeros(1, 3, 4, 4), index)
    with pytest.raises(UserError, match='set it to a level of that grid'):
        join_score_map(levels, torch.zeros(1, 3, 5, 4), 1)
