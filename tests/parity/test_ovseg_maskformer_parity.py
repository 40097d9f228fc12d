from __future__ import annotations

import pytest
import torch
from scripts import ROOT

from parity import check_path

GOLDEN = ROOT / 'tests' / 'data' / 'ovseg' / 'matcher_losses.pt'


def test_costs_matching_losses_and_gradients_agree_with_the_reference():
    (report,) = check_path(GOLDEN)
    assert report.passed, report.text()
    assert len(report.lines) > 30


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (
            lambda c: c['intermediates']['costs'][1]['cost_dice'].add_(0.01),
            ['intermediates.costs.1.cost_dice'],
        ),
        (
            lambda c: c['intermediates']['aux_match'][1][0]['tgt'].add_(1),
            ['intermediates.aux_match.1.0.tgt'],
        ),
        (
            lambda c: c['outputs']['losses_unweighted']['loss_mask_0'].mul_(1.001),
            ['outputs.losses_unweighted.loss_mask_0'],
        ),
        (lambda c: c['outputs']['grad_pred_masks'].mul_(1.01), ['outputs.grad_pred_masks']),
        (lambda c: c['config'].update(focal_gamma=1.0), ['config.focal_gamma']),
        (lambda c: c.update(novelty=torch.zeros(1)), ['novelty']),
    ],
)
def test_a_changed_quantity_fails_and_is_named(change, names, tmp_path):
    content = torch.load(GOLDEN, weights_only=True)
    change(content)
    torch.save(content, tmp_path / GOLDEN.name)
    (report,) = check_path(tmp_path / GOLDEN.name)
    assert [line.name for line in report.lines if line.status != 'ok'] == names


def test_other_weights_of_the_costs_in_the_file_are_used(tmp_path):
    content = torch.load(GOLDEN, weights_only=True)
    content['config'].update(cost_mask=40.0, cost_dice=0.0)
    torch.save(content, tmp_path / GOLDEN.name)
    (report,) = check_path(tmp_path / GOLDEN.name)
    assert not report.passed
