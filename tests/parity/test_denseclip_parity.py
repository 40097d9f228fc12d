from __future__ import annotations

import pytest
import torch
from scripts import ROOT

from parity import check_path

GOLDEN = ROOT / 'tests' / 'data' / 'denseclip'


@pytest.mark.parametrize('name', ['text_side', 'tokens', 'clip_mapping_vit'])
def test_every_quantity_agrees_with_the_reference(name):
    (report,) = check_path(GOLDEN / f'{name}.pt')
    assert report.passed, report.text()
    assert len(report.lines) >= 2


@pytest.mark.parametrize(
    ('name', 'change', 'failed'),
    [
        ('text_side', lambda c: c['texts'][0, 1].add_(1), {'texts'}),
        ('text_side', lambda c: c['score_map'][0, 0, 0, 0].add_(1e-3), {'score_map'}),
        ('text_side', lambda c: c['text_diff'].mul_(1.001), {'text_diff'}),
        (
            'text_side',
            lambda c: c['state_dict']['gamma'].mul_(1.01),
            {'text_embeddings', 'score_map'},
        ),
        ('text_side', lambda c: c.update(novelty=torch.zeros(1)), {'novelty'}),
        ('tokens', lambda c: c['coco_texts_len5'][3, 1].add_(1), {'coco_texts_len5'}),
        (
            'clip_mapping_vit',
            lambda c: c['missing_get_embeddings_True'].pop(),
            {'missing_get_embeddings_True'},
        ),
    ],
)
def test_a_changed_quantity_fails_and_is_named(name, change, failed, tmp_path):
    content = torch.load(GOLDEN / f'{name}.pt', weights_only=True)
    change(content)
    torch.save(content, tmp_path / f'{name}.pt')
    (report,) = check_path(tmp_path / f'{name}.pt')
    assert {line.name for line in report.lines if line.status != 'ok'} == failed
