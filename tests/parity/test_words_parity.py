from __future__ import annotations

import torch
from torch.nn import functional as F

from parity import check_path


def failed(content, path):
    path.parent.mkdir(exist_ok=True)
    torch.save(content, path)
    (report,) = check_path(path)
    return [line.name for line in report.lines if line.status != 'ok']


def test_contrast_words_agree_and_a_changed_one_is_named(tmp_path):
    vocabulary = F.normalize(torch.tensor([[1.0, 0, 0], [0.1, 1, 0], [0, 0.2, 1]]), dim=1)
    content = {
        'config': {'gamma': 0.1, 'delta': 0.15, 'vocabulary': 3},
        'inputs': {
            'query': vocabulary[1:2] * 2,
            'vocabulary': vocabulary,
            'cooccurrence': torch.tensor([[50.0, 9, 1], [9, 40, 8], [1, 8, 30]]),
            'keep': torch.tensor([0, 1, 2]),
        },
        'intermediate': {
            'matched': torch.tensor([1]),
            'similarity': vocabulary @ vocabulary.T,
        },
        # 9 / 40 of the captions with word 1 have word 0, at a cosine of 0.0995; word 2 is nearer.
        'outputs': {'contrastive': torch.tensor([[True, False, False]])},
    }
    path = tmp_path / 'classifiers' / 'contrastive_concepts.pt'
    assert failed(content, path) == []
    content['outputs']['contrastive'] = torch.tensor([[True, False, True]])
    assert failed(content, path) == ['outputs.contrastive']


def test_fused_experts_agree_and_a_changed_map_is_named(tmp_path):
    experts = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]], [[[0.3, 0.6]], [[0.7, 0.4]]]])
    default = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])
    # The first pixel is claimed by both (0.9 beats 0.7), the second by neither.
    fused = torch.tensor([[[0.9, 0.5]], [[0.1, 0.5]]])
    one = torch.tensor([[[0.9, 0.6]], [[0.1, 0.4]]])
    entropy = -(one * (one + 1e-10).log()).sum(0).mean().double()
    content = {
        'config': {'classes': 2, 'height': 1, 'width': 2, 'templates': 1, 'images': 1},
        'inputs': {
            'expert_probs': experts,
            'default_prob': default,
            'template_probs': one[None, None],
        },
        'intermediate': {'claims_per_pixel': torch.tensor([[2, 0]])},
        'outputs': {
            'fused': fused,
            'entropy': torch.stack([entropy, torch.zeros_like(entropy)])[None],
            'pixel_count': torch.tensor([[2.0, 0.0]], dtype=torch.float64),
            'total_pixels': 2.0,
        },
    }
    path = tmp_path / 'classifiers' / 'floss.pt'
    assert failed(content, path) == []
    content['outputs']['fused'] = fused.flip(2)
    assert failed(content, path) == ['outputs.fused']
