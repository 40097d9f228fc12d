from __future__ import annotations

import torch
from torch.nn import functional as F

from parity import check_path


def test_a_fused_map_agrees_and_a_changed_one_is_named(tmp_path):
    torch.manual_seed(0)
    bank, text = (F.normalize(torch.randn(count, 8), dim=1) for count in (9, 3))
    regions = torch.tensor([[5, 5, 2], [2, 2, 7]])
    neighbours = {2: [0, 4], 5: [1, 8], 7: [3]}
    own = torch.randn(1, 3, 2, 3)
    support = torch.zeros(1, 3, 2, 3)
    for region, rows in neighbours.items():
        logits = text @ F.normalize(bank[rows].mean(0), dim=0)
        support[:, :, regions == region] = logits[:, None]
    content = {
        'config': {'classes': 3, 'dim': 8, 'regions': 3, 'k': 2, 'alpha': 0.75},
        'inputs': {
            'bank': bank,
            'text': text,
            'regions': regions,
            'indices': torch.tensor([[0, 4], [1, 8], [3, -1]]),
            'own_logits': own,
        },
        'outputs': {'support_logits': support, 'fused': 0.75 * own + 0.25 * support},
    }
    folder = tmp_path / 'classifiers'
    folder.mkdir()
    torch.save(content, folder / 'retrieval_fusion.pt')
    (report,) = check_path(folder)
    assert report.passed and len(report.lines) == 2
    content['outputs']['fused'] = content['outputs']['fused'] + 1e-4
    torch.save(content, folder / 'retrieval_fusion.pt')
    (report,) = check_path(folder)
    assert [line.name for line in report.lines if line.status != 'ok'] == ['outputs.fused']
