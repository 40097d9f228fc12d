"""Parity with the training of OVSeg's MaskFormer: matching, losses and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.ovseg_format import to_ovseg
from ovseg.parity.ovseg_clip import FEATURES
from ovseg.parity.ovseg_maskformer import golden_maskformer, pad_images, read_config
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.training.heads.maskformer_settings import FOCAL_ALPHA, FOCAL_GAMMA
from ovseg.training.heads.open_vocabulary_maskformer import OpenVocabularyMaskFormer, class_masks

_LOSSES = Tolerance(rtol=1e-5)
_NORMS = Tolerance(atol=2e-5, rtol=1e-3)
_PARTS = {'loss_ce': 'loss_cls', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice'}


def check_matcher(report: Report, folder: Path) -> None:
    """Costs, matching, losses and their gradients, for given predictions."""
    content, config = report.content, report.content['config']
    report.use('config.num_classes', 'config.no_object_weight', 'config.weights')
    report.use(*(f'config.cost_{name}' for name in ('class', 'mask', 'dice')))
    report.compare('config.focal_alpha', FOCAL_ALPHA, config['focal_alpha'], EXACT)
    report.compare('config.focal_gamma', FOCAL_GAMMA, config['focal_gamma'], EXACT)
    inputs = content['inputs']
    report.use(*(f'inputs.{name}' for name in inputs if not name.startswith('target_')))
    head = _head_for(config, inputs['pred_logits'])
    targets = [class_masks(labels, inputs['ignore_label']) for labels in inputs['gt_sem_seg']]
    for index, target in enumerate(targets):
        labels, masks = inputs['target_labels'][index], inputs['target_masks'][index]
        report.compare(f'inputs.target_labels.{index}', target.labels, labels, EXACT)
        report.compare(f'inputs.target_masks.{index}', target.masks.bool(), masks, EXACT)
    # Ours lists the layers as they run, theirs the last one first.
    layers = [*inputs['aux_outputs'], inputs]
    logits = torch.stack([layer['pred_logits'] for layer in layers]).requires_grad_()
    masks = torch.stack([layer['pred_masks'] for layer in layers]).requires_grad_()
    losses = head.losses(logits, masks, targets)
    _compare_matching(report, head, logits.detach(), masks.detach(), targets)
    weights = config['weights']
    for name, theirs in content['outputs']['losses_unweighted'].items():
        ours = losses[_our_loss(name)].detach() / weights[name]
        report.compare(f'outputs.losses_unweighted.{name}', ours, theirs, _LOSSES)
    total = sum(losses.values())
    wanted = content['outputs']['total_weighted']
    report.compare('outputs.total_weighted', total.detach(), wanted, _LOSSES)
    total.backward()
    for name, tensor in (('pred_logits', logits), ('pred_masks', masks)):
        theirs = content['outputs'][f'grad_{name}']
        report.compare(f'outputs.grad_{name}', tensor.grad[-1], theirs, gradients(theirs))


def check_training(report: Report, folder: Path) -> None:
    """One training step of backbone and head: weighted losses, and every parameter's gradient."""
    content = report.content
    report.use('config', 'inputs')
    model = golden_maskformer(folder, **content['config']).train()
    images = pad_images(content['inputs']['images'], read_config(folder))
    labels = content['inputs']['gt_sem_seg']
    samples = [SegDataSample(gt_sem_seg=PixelData(data=map_[None])) for map_ in labels]
    text = content['inputs']['text_features_with_non_object'][:-1]
    losses = model['proposals'].loss(model['backbone'](images), text, samples)
    for name, theirs in content['outputs']['losses_weighted'].items():
        ours = losses[_our_loss(name)].detach()
        report.compare(f'outputs.losses_weighted.{name}', ours, theirs, _LOSSES)
    total = sum(losses.values())
    report.compare('outputs.total', total.detach(), content['outputs']['total'], _LOSSES)
    total.backward()
    # The names of parameters are those of their gradients.
    found = to_ovseg({name: value.grad for name, value in model.named_parameters()})
    for name, theirs in content['outputs']['grad_norms'].items():
        ours = found[name].norm().to(torch.float64)
        wanted = torch.as_tensor(theirs, dtype=torch.float64)
        report.compare(f'outputs.grad_norms.{name}', ours, wanted, _NORMS)
    trained = [name for name, _ in model.named_parameters()]
    count = len(content['outputs']['grad_norms'])
    report.compare('outputs.grad_norms', len(trained), count, EXACT)
    for name, theirs in content['outputs']['grads'].items():
        report.compare(f'outputs.grads.{name}', found[name], theirs, gradients(theirs))


def gradients(theirs: Tensor) -> Tolerance:
    """What a gradient may differ by: its entries are sums whose terms are as large as any of them.

    Args:
        theirs: the reference.
    """
    return Tolerance(atol=max(2e-5, 1e-5 * float(theirs.abs().max())), rtol=1e-3)


def _head_for(config: Mapping[str, Any], logits: Tensor) -> OpenVocabularyMaskFormer:
    """A head that only matches and measures; its own widths do not matter."""
    return OpenVocabularyMaskFormer(
        in_channels=(4, 4, 4, 4),
        embed_dim=4,
        num_queries=logits.shape[1],
        feat_channels=4,
        mask_channels=4,
        hidden_channels=4,
        num_heads=1,
        feedforward_channels=4,
        num_layers=1,
        class_channels=4,
        norm_groups=1,
        class_weight=config['cost_class'],
        mask_weight=config['cost_mask'],
        dice_weight=config['cost_dice'],
        no_object_weight=config['no_object_weight'],
    )


def _compare_matching(
    report: Report,
    head: OpenVocabularyMaskFormer,
    logits: Tensor,
    masks: Tensor,
    targets: Sequence[InstanceData],
) -> None:
    theirs = report.content['intermediates']
    report.use('intermediates.aux_match')  # pairs of layers and images, compared one by one below
    for image, target in enumerate(targets):
        shrunk = F.interpolate(target.masks[:, None].float(), masks.shape[-2:], mode='nearest')
        small = InstanceData(labels=target.labels, masks=shrunk[:, 0].long())
        last = InstanceData(scores=logits[-1, image], masks=masks[-1, image])
        names = ('cost_class', 'cost_mask', 'cost_dice')
        for name, cost in zip(names, head.assigner.match_costs, strict=True):
            ours = cost(last, small) / cost.weight
            wanted = theirs['costs'][image][name]
            report.compare(f'intermediates.costs.{image}.{name}', ours, wanted, FEATURES)
        for layer in range(len(logits)):
            found = InstanceData(scores=logits[layer, image], masks=masks[layer, image])
            assigned = head.assigner.assign(found, small).gt_inds
            queries = (assigned > 0).nonzero().squeeze(1)
            matched = assigned[queries] - 1
            if layer == len(logits) - 1:
                paths = [f'match_src.{image}', f'match_tgt.{image}']
                wanted = [theirs['match_src'][image], theirs['match_tgt'][image]]
            else:
                paths = [f'aux_match.{layer}.{image}.{side}' for side in ('src', 'tgt')]
                wanted = [theirs['aux_match'][layer][image][side] for side in ('src', 'tgt')]
            for path, ours, value in zip(paths, (queries, matched), wanted, strict=True):
                report.compare(f'intermediates.{path}', ours, value, EXACT)


def _our_loss(name: str) -> str:
    """``loss_ce_2`` -> ``d2.loss_cls``, ``loss_ce`` -> ``loss_cls``."""
    part, _, layer = name.rpartition('_')
    return f'd{layer}.{_PARTS[part]}' if layer.isdigit() else _PARTS[name]
