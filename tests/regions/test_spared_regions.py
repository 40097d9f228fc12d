"""Which pixels a region may decide: nowhere else does any score of it move a label."""

import pytest
import torch
from scripts import load_script

from ovseg.regions.mask_maps import sum_of_masks

spared = load_script('spared_regions', 'benchmarks')


@pytest.mark.parametrize('seed', range(20))
def test_elsewhere_no_score_of_the_region_moves_a_label(seed):
    random = torch.Generator().manual_seed(seed)
    masks = torch.rand(6, 9, 11, generator=random) ** 4
    scores = torch.rand(6, 5, generator=random)
    most = torch.rand(5, generator=random)
    is_open = spared.is_open(masks, scores, 2, most)
    drawn = torch.rand(50, 5, generator=random)
    extremes = torch.cat([torch.eye(5), torch.zeros(1, 5), torch.ones(1, 5)])
    labels = []
    for share in torch.cat([drawn, extremes]):
        scores[2] = share * most
        labels.append(sum_of_masks(masks, scores).argmax(0))
    moved = (torch.stack(labels) != labels[0]).any(0)
    assert bool(moved.any()) and not bool((moved & ~is_open).any())
    # And it is no looser than it must be: one class alone, at its most, makes all open pixels move.
    assert torch.equal(moved, is_open)


def test_the_count_is_printed(capsys):
    spared.main(['--scenes', '1', '--weight', '0.7'])
    printed = capsys.readouterr().out
    assert printed.startswith('w = 0.7: of ') and ' regions in 1 scenes ' in printed
