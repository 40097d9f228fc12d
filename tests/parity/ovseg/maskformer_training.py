"""Parity with the training of OVSeg's MaskFormer: matching, losses and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.ovseg_format import to_ovseg
from ovseg.training.heads.open_vocabulary_maskformer import (
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    OpenVocabularyMaskFormer,
)
from ovseg.training.heads.text_queries import class_masks
from parity.ovseg.clip import FEATURES
from parity.ovseg.maskformer import golden_maskformer, pad_images, read_config
from parity.report import EXACT, Case, Tolerance

_LOSSES = Tolerance(rtol=1e-5)
_NORMS = Tolerance(atol=2e-5, rtol=1e-3)
_PARTS = {'loss_ce': 'loss_cls', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice'}


def check_matcher(file: Case, folder: Path) -> None:
    """Costs, matching, losses and their gradients, for given predictions."""
    inputs, outputs, config = (file.inner(key) for key in ('inputs', 'outputs', 'config'))
    config.use('num_classes')
    config.compare(EXACT, focal_alpha=FOCAL_ALPHA, focal_gamma=FOCAL_GAMMA)
    # Ours lists the layers as they run, theirs the last one first.
    last = {key: inputs[key] for key in ('pred_logits', 'pred_masks')}
    layers = [*inputs.get('aux_outputs', []), last]
    logits, masks = (
        torch.stack([layer[key] for layer in layers]).requires_grad_()
        for key in ('pred_logits', 'pred_masks')
    )
    head = _head_for(config, logits[-1])
    targets = [class_masks(labels, inputs['ignore_label']) for labels in inputs['gt_sem_seg']]
    for index, target in enumerate(targets):
        inputs.inner('target_labels').compare(EXACT, {index: target.labels})
        inputs.inner('target_masks').compare(EXACT, {index: target.masks.bool()})
    losses = head.losses(logits, masks, targets)
    _compare_matching(file.inner('intermediates'), head, logits.detach(), masks.detach(), targets)
    weights, plain = config['weights'], outputs.inner('losses_unweighted')
    ours = {name: losses[_our_loss(name)].detach() / weights[name] for name in plain}
    plain.compare(_LOSSES, ours)
    total = sum(losses.values())
    outputs.compare(_LOSSES, total_weighted=total.detach())
    total.backward()
    last = {'grad_pred_logits': logits.grad[-1], 'grad_pred_masks': masks.grad[-1]}
    outputs.compare(gradients, last)


def check_training(file: Case, folder: Path) -> None:
    """One training step of backbone and head: weighted losses, and every parameter's gradient."""
    inputs, outputs = file['inputs'], file.inner('outputs')
    model = golden_maskformer(folder, **file['config']).train()
    images = pad_images(inputs['images'], read_config(folder))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=map_[None])) for map_ in inputs['gt_sem_seg']
    ]
    text = inputs['text_features_with_non_object'][:-1]
    losses = model['proposals'].loss(model['backbone'](images), text, samples)
    weighted = outputs.inner('losses_weighted')
    weighted.compare(_LOSSES, {name: losses[_our_loss(name)].detach() for name in weighted})
    total = sum(losses.values())
    outputs.compare(_LOSSES, total=total.detach())
    total.backward()
    # The names of parameters are those of their gradients.
    found = to_ovseg({name: value.grad for name, value in model.named_parameters()})
    norms, whole = outputs.inner('grad_norms'), outputs.inner('grads')
    norms.compare(_NORMS, {name: found[name].norm().double() for name in norms})
    outputs.compare_as('grad_norms', len(list(model.parameters())), len(norms.content))
    whole.compare(gradients, {name: found[name] for name in whole})


def gradients(theirs: Tensor) -> Tolerance:
    """What a gradient may differ by: its entries are sums of terms as large as any of them."""
    return Tolerance(atol=max(2e-5, 1e-5 * float(theirs.abs().max())), rtol=1e-3)


def _head_for(config: Case, logits: Tensor) -> OpenVocabularyMaskFormer:
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
    case: Case,
    head: OpenVocabularyMaskFormer,
    logits: Tensor,
    masks: Tensor,
    targets: Sequence[InstanceData],
) -> None:
    last = len(logits) - 1
    for image, (target, costs) in enumerate(zip(targets, case.cases('costs'), strict=True)):
        shrunk = F.interpolate(target.masks[:, None].float(), masks.shape[-2:], mode='nearest')
        small = InstanceData(labels=target.labels, masks=shrunk[:, 0].long())
        found = [
            InstanceData(scores=logits[layer, image], masks=masks[layer, image])
            for layer in range(len(logits))
        ]
        names = ('cost_class', 'cost_mask', 'cost_dice')
        for name, cost in zip(names, head.assigner.match_costs, strict=True):
            costs.compare(FEATURES, {name: cost(found[last], small) / cost.weight})
        for layer, predicted in enumerate(found):
            assigned = head.assigner.assign(predicted, small).gt_inds
            queries = (assigned > 0).nonzero().squeeze(1)
            matched = assigned[queries] - 1
            if layer == last:
                case.inner('match_src').compare(EXACT, {image: queries})
                case.inner('match_tgt').compare(EXACT, {image: matched})
            else:
                pairs = case.inner('aux_match').inner(layer).inner(image)
                pairs.compare(EXACT, src=queries, tgt=matched)


def _our_loss(name: str) -> str:
    """``loss_ce_2`` -> ``d2.loss_cls``, ``loss_ce`` -> ``loss_cls``."""
    part, _, layer = name.rpartition('_')
    return f'd{layer}.{_PARTS[part]}' if layer.isdigit() else _PARTS[name]
