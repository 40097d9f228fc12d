from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from parity import check_path


def pooling():
    """A case worked out by hand: two classes, a patch of both, a patch that nobody looked at."""
    labels = torch.tensor([[[0, 0, 1, 1], [0, 1, 255, 255]]])
    features = torch.randn(1, 3, 2)
    unit = F.normalize(features, dim=1)[0]
    weights = torch.tensor([[1.0, 0.0], [1 / 3, 2 / 3], [0.0, 0.0]])
    pooled = weights @ unit.T
    return {
        'config': {
            **{'classes': 3, 'patch': 2, 'height': 1, 'width': 2, 'dim': 3},
            'ignore': 255,
        },
        'inputs': {'features': features, 'labels': labels},
        'intermediate': {'present': torch.tensor([True, True, False]), 'pooled': pooled},
        'outputs': {'visual': F.normalize(pooled, dim=1)},
    }


def proto():
    features, text, query = (F.normalize(torch.randn(n, 6), dim=1) for n in (4, 2, 5))
    labels = torch.tensor([0, 1, 0, 1])
    visual = F.normalize(torch.stack([features[labels == c].mean(0) for c in (0, 1)]), dim=1)
    parts = [torch.exp(-3 * torch.cdist(query, rows).square()) for rows in (visual, text)]
    parts = [part / part.sum(1, keepdim=True) for part in parts]
    return {
        'config': {'classes': 2, 'dim': 6, 'shots': 2},
        'inputs': {'features': features, 'labels': labels, 'text': text, 'query': query},
        'intermediate': {'image_prototypes': visual},
        'outputs': {'p_a0.3_b3.0': 0.3 * parts[0] + 0.7 * parts[1]},
    }


def gda():
    features, labels = torch.randn(8, 3), torch.tensor([0, 1] * 4)
    unit = F.normalize(features, dim=1).repeat(2, 1)
    means = torch.stack([unit[labels.repeat(2) == c].mean(0) for c in (0, 1)])
    covariance = torch.cov((unit - means[labels.repeat(2)]).T)
    precision = 3 * torch.linalg.pinv(15 * covariance + covariance.trace() * torch.eye(3))
    weight = precision @ means.T
    bias = torch.tensor(0.5).log() - 0.5 * (means @ precision * means).sum(1)
    text, query = F.normalize(torch.randn(2, 3), dim=1), F.normalize(torch.randn(4, 3), dim=1)
    added = query @ weight + bias
    right = (100 * query @ text.T + 0.5 * added).argmax(1)
    return {
        'config': {
            **{'classes': 2, 'dim': 3, 'shots': 4, 'augment_epoch': 2, 'alphas': [0.5, 0.6]},
            'logit_scale': 100.0,
        },
        'inputs': {
            **{'raw_features': features, 'labels': labels, 'text': text},
            **{'val_features': query, 'val_labels': right},
            **{'test_features': query, 'test_labels': 1 - right},
        },
        'intermediate': {
            **{'mus': means, 'cov_inv': precision, 'W': weight, 'b': bias},
            'log_prior': torch.tensor([0.5, 0.5]).log(),
            'val_logits_of_last_alpha': 100 * query @ text.T + 0.6 * added,
        },
        'outputs': {
            **{'alpha': 0.5, 'val_acc': 100.0, 'test_acc': 0.0},
            'test_logits': 100 * query @ text.T + 0.5 * added,
        },
    }


def tip():
    views, text = torch.randn(2, 4, 3), F.normalize(torch.randn(2, 3), dim=1)
    labels, query = torch.tensor([0, 0, 1, 1]), F.normalize(torch.randn(5, 3), dim=1)
    keys, values = F.normalize(views.mean(0), dim=1), F.one_hot(labels, 2).float()

    def logits(alpha, beta):
        return 100 * query @ text.T + alpha * (beta * (query @ keys.T - 1)).exp() @ values

    return {
        'config': {
            **{'classes': 2, 'dim': 3, 'shots': 2, 'augment_epoch': 2, 'logit_scale': 100.0},
            **{'search_scale': [2.1, 1.1], 'search_step': [2, 2]},
            **{'init_beta': 2.0, 'init_alpha': 3.0},
        },
        'inputs': {
            **{'views': views, 'labels': labels, 'text': text, 'test_features': query},
            **{'val_features': query, 'val_labels': logits(0.1, 0.1).argmax(1)},
            'test_labels': labels,
        },
        'intermediate': {'cache_keys': keys, 'cache_values': values},
        'outputs': {
            **{'beta': 0.1, 'alpha': 0.1, 'test_logits_init': logits(3.0, 2.0)},
            'test_logits_best': logits(0.1, 0.1),
        },
    }


def rns():
    """Three classes, the last without exemplars; fitted by torch's own layer and losses."""
    unit = partial(F.normalize, dim=-1)
    bank, text, patches = (unit(torch.randn(*n, 4)) for n in ((2, 3), (3,), (6,)))
    patches[4:] = unit(text[2] + 0.1 * patches[4:])
    present = torch.tensor([[True, True, False], [True, False, False]])
    flat = present.flatten().nonzero()[:, 0]
    scores = (2 * text @ unit(patches.mean(0))).softmax(0)
    nearest = flat[(patches @ bank.flatten(0, 1)[flat].T).topk(1).indices].unique()
    visual = torch.stack([unit(bank[present[:, c], c].sum(0)) for c in (0, 1)] + [torch.zeros(4)])
    mixed = torch.stack([unit(a * visual[:2] + (1 - a) * text[:2]) for a in (0.8, 0.0)])
    mixed = mixed[:, (nearest % 3).unique()]
    won = patches[(patches @ text.T).argmax(1) == 2]
    pseudo = torch.stack([unit(a * unit(won.mean(0)) + (1 - a) * text[2]) for a in (0.8, 0.0)])
    features = torch.cat([bank.flatten(0, 1)[nearest], mixed.flatten(0, 1), pseudo])
    classes = torch.cat([nearest % 3, (nearest % 3).unique().repeat(2), torch.tensor([2, 2])])
    soft = (100 * pseudo @ text.T).softmax(1)
    labels = torch.cat([F.one_hot(classes[:-2], 3).float(), soft])
    weights = F.normalize(scores[classes], p=1, dim=0)
    first, second = len(nearest), len(features) - 2
    start = torch.randn(3, 4)
    layer = torch.nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(start)
        layer.bias.zero_()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.001)
    for _ in range(10):
        logits = layer(features)
        losses = F.cross_entropy(logits, classes, reduction='none')
        divergence = F.kl_div(logits.log_softmax(1), labels, reduction='none').sum(1)
        losses = torch.cat([losses[:first], 1.5 * losses[first:second], 0.2 * divergence[second:]])
        loss = (weights * losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mixture = torch.stack([unit(a * visual + (1 - a) * text) for a in (0.8, 0.0)])
    mixture[:, 2] = 0
    return {
        'config': {
            **{'classes': 3, 'dim': 4, 'support_images': 2, 'height': 2, 'width': 3, 'k': 1},
            **{'class_score_temperature': 2.0, 'text_scale': 100.0, 'beta_mixed': 1.5},
            **{'beta_pseudo': 0.2, 'lr': 0.01, 'weight_decay': 0.001, 'epochs': 10},
            'visual_weights': [0.8, 0.0],
        },
        'inputs': {
            **{'features': 1.7 * patches.T.reshape(1, 4, 2, 3), 'bank': bank, 'text': text},
            **{'bank_present': present, 'drop_classes': torch.tensor([2]), 'init_weight': start},
        },
        'intermediate': {
            **{'visual': visual, 'mixed': mixture.flatten(0, 1), 'retrieved_index': nearest},
            **{'mixed_labels': torch.arange(3), 'global_class_scores': scores},
            **{'train_features': features, 'train_labels': labels, 'train_weights': weights},
            'counts': [first, second - first, 2],
        },
        'outputs': {
            **{
                'loss': float(loss.detach()),
                'weight': layer.weight.detach(),
                'bias': layer.bias.detach(),
            },
            'probs': layer(patches).softmax(1).detach(),
        },
    }


CASES = {
    **{'mask_pooling': pooling, 'proto_clip': proto, 'gda': gda, 'tip_adapter': tip},
    'rns_partial': rns,
}


@pytest.mark.parametrize('name', CASES)
def test_a_case_worked_out_plainly_agrees_and_each_changed_quantity_is_named(name, tmp_path):
    torch.manual_seed(3)
    content = CASES[name]()
    folder = tmp_path / 'classifiers'
    folder.mkdir()

    def wrong():
        torch.save(content, folder / f'{name}.pt')
        (report,) = check_path(folder)
        return [line.name for line in report.lines if line.status != 'ok']

    assert wrong() == []
    for part in ('intermediate', 'outputs'):
        for key, value in content[part].items():
            is_truth = isinstance(value, torch.Tensor) and value.dtype == torch.bool
            value_plus = [9] if isinstance(value, list) else value + 1
            content[part][key] = ~value if is_truth else value_plus
            assert wrong() == [f'{part}.{key}']
            content[part][key] = value
