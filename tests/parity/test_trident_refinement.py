from __future__ import annotations

import pytest
import torch
from scripts import ROOT

from parity.report import Report
from parity.trident.refinement import check_fusion, check_regions

GOLDEN = ROOT / 'tests' / 'data' / 'trident' / 'refinement_units.pt'


def checked(change=lambda content: None):
    content = torch.load(GOLDEN, weights_only=True)
    change(content)
    report = Report(content, GOLDEN.name)
    for case in report.case.cases('regions'):
        check_regions(case)
    check_fusion(report.case.inner('fusion'))
    report.miss_unseen()
    return report


def test_regions_and_fusion_agree_with_the_reference():
    report = checked()
    assert report.passed, report.text()
    assert len(report.lines) > 30


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (lambda c: c['regions'][0]['regions'][2][4].mul_(0), 'regions.0.regions.2'),
        (lambda c: c['regions'][1]['boxes'][3][0].add_(1), 'regions.1.boxes.3'),
        (lambda c: c['regions'][1]['points'][4][1].sub_(1), 'regions.1.points.4'),
        (lambda c: c['fusion']['fused_logits'][0].add_(1e-2), 'fusion.fused_logits'),
        (lambda c: c['fusion']['final_pred'][0, 3].add_(1), 'fusion.final_pred'),
    ],
)
def test_a_changed_quantity_fails_and_is_named(change, name):
    report = checked(change)
    assert [line.name for line in report.lines if line.status != 'ok'] == [name]
