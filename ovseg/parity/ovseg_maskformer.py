"""Parity with OVSeg's MaskFormer: weights, forward pass, matching, losses and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.models.backbones import ResNetV1c, SwinTransformer
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.backbones.ovseg_format import backbone_from_ovseg, from_ovseg, to_ovseg
from ovseg.engine.checkpoint import load_state_strict
from ovseg.heads.maskformer_settings import FOCAL_ALPHA, FOCAL_GAMMA
from ovseg.heads.open_vocabulary_maskformer import OpenVocabularyMaskFormer, class_masks
from ovseg.parity.report import EXACT, Report, Tolerance

FEATURES = Tolerance(atol=2e-5, rtol=1e-4)
LOGITS = Tolerance(atol=1e-3, rtol=1e-4)
LOSSES = Tolerance(rtol=1e-5)
_NORMS = Tolerance(atol=2e-5, rtol=1e-3)
# Sums of some ten thousand pixels.
_SUMS = Tolerance(rtol=1e-6, atol=1e-2)
_WEIGHTS = 'maskformer_weights.pt'
_FORWARD = 'maskformer_forward.pt'
_PARTS = {'loss_ce': 'loss_cls', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice'}


def check_weights(report: Report, folder: Path) -> None:
    """Published keys and values, loaded and saved again."""
    theirs = report.content['state_dict']
    saved = to_ovseg(golden_maskformer(folder).state_dict())
    for key, value in theirs.items():
        wanted = value.float() if value.is_floating_point() else value
        report.compare(f'state_dict.{key}', saved.get(key, torch.empty(0)), wanted, EXACT)
    every = report.content['all_checkpoint_keys']
    filled = {key: theirs.get(key, torch.zeros(1)) for key in every}
    back = to_ovseg(from_ovseg(filled))
    report.compare('all_checkpoint_keys', sorted(back), sorted(every), EXACT)
    report.compare('state_dict', sorted(set(saved) - set(every)), [], EXACT)


@torch.inference_mode()
def check_forward(report: Report, folder: Path) -> None:
    """Everything between images and proposals, for images of different sizes padded together."""
    content, theirs = report.content, report.content['intermediates']
    report.use('config', 'inputs')
    model = golden_maskformer(folder).eval()
    backbone, head = model['backbone'], model['proposals']
    images = pad_images(content['inputs']['images'], content['config'])
    with _outputs_of(head) as seen:
        levels = backbone(images)
        embeddings, mask_logits = head._read_out(*head._decode(levels))
    text = content['inputs']['text_features_with_non_object']
    logits = head.classify(embeddings[-1], text[:-1])
    proposals = head(levels, tuple(images.shape[-2:]))
    ours = {
        'res2_image0_sub': levels[0][:1, :, ::3, ::3],
        'res3_image0_sub': levels[1][:1, :, ::2, ::2],
        'res4': levels[2],
        'res5': levels[3],
        'mask_features_image0_sub': seen['pixel_decoder'][0][:1, :, ::3, ::3],
        'pos_embed_image0': seen['decoder_pe'][:1],
        'decoder_hidden': seen['transformer_decoder'],
        'class_embed': embeddings,
        'class_embed_aux': embeddings[:-1],
        'mask_embed': seen['mask_embed'],
        'pred_masks': proposals.mask_logits,
        'pred_masks_aux_image0': mask_logits[:-1, 0],
    }
    report.compare(
        'intermediates.batched_shape', list(images.shape), theirs['batched_shape'], EXACT
    )
    sums = images.double().sum((1, 2, 3))
    report.compare('intermediates.batched_sum', sums, theirs['batched_sum'], _SUMS)
    for name, value in ours.items():
        report.compare(f'intermediates.{name}', value, theirs[name], FEATURES)
    report.compare('intermediates.pred_logits', logits, theirs['pred_logits'], LOGITS)
    report.leave('outputs.sem_seg', 'the second stage is checked with the segmentor')


@torch.inference_mode()
def check_resnet(report: Report, folder: Path) -> None:
    """The ResNet with DeepLab stem, frozen norms and multi-grid."""
    content, config = report.content, report.content['config']
    report.use('config', 'state_dict', 'inputs')
    backbone = ResNetV1c(
        depth=config['depth'],
        stem_channels=config['stem_out_channels'],
        base_channels=config['width_per_group'],
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        multi_grid=tuple(config['res5_multi_grid']),
        style='caffe' if config['stride_in_1x1'] else 'pytorch',
        norm_cfg={'type': 'BN', 'requires_grad': False},
        norm_eval=True,
    )
    backbone.eval()  # mmseg's gives nothing back
    load_state_strict(backbone, backbone_from_ovseg(_float(content['state_dict'])), report.title)
    for level, (name, theirs) in zip(
        backbone(content['inputs']['x']), content['outputs'].items(), strict=True
    ):
        report.compare(f'outputs.{name}', level, theirs, FEATURES)


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
        report.compare(f'outputs.losses_unweighted.{name}', ours, theirs, LOSSES)
    total = sum(losses.values())
    wanted = content['outputs']['total_weighted']
    report.compare('outputs.total_weighted', total.detach(), wanted, LOSSES)
    total.backward()
    for name, tensor in (('pred_logits', logits), ('pred_masks', masks)):
        theirs = content['outputs'][f'grad_{name}']
        report.compare(f'outputs.grad_{name}', tensor.grad[-1], theirs, gradients(theirs))


def check_training(report: Report, folder: Path) -> None:
    """One training step of backbone and head: weighted losses, and every parameter's gradient."""
    content = report.content
    report.use('config', 'inputs')
    model = golden_maskformer(folder, **content['config']).train()
    images = pad_images(content['inputs']['images'], _config(folder))
    labels = content['inputs']['gt_sem_seg']
    samples = [SegDataSample(gt_sem_seg=PixelData(data=map_[None])) for map_ in labels]
    text = content['inputs']['text_features_with_non_object'][:-1]
    losses = model['proposals'].loss(model['backbone'](images), text, samples)
    for name, theirs in content['outputs']['losses_weighted'].items():
        ours = losses[_our_loss(name)].detach()
        report.compare(f'outputs.losses_weighted.{name}', ours, theirs, LOSSES)
    total = sum(losses.values())
    report.compare('outputs.total', total.detach(), content['outputs']['total'], LOSSES)
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


def golden_maskformer(
    folder: Path, dropout: float = 0.0, drop_path: float = 0.0, **_: Any
) -> nn.ModuleDict:
    """``backbone`` and ``proposals`` with the weights of a golden folder.

    Args:
        folder: with the files of the weights and of the forward pass, whose sizes count.
        dropout: of the decoder.
        drop_path: of the backbone.
    """
    config = _config(folder)
    swin = {key: value for key, value in config['swin'].items() if key != 'ape'}
    backbone = SwinTransformer(
        **{**swin, 'strides': (swin['patch_size'], 2, 2, 2)},
        use_abs_pos_embed=config['swin']['ape'],
        drop_path_rate=drop_path,
    )
    head = OpenVocabularyMaskFormer(
        backbone.num_features,
        embed_dim=config['embedding_dim'],
        num_queries=config['num_queries'],
        feat_channels=config['conv_dim'],
        mask_channels=config['mask_dim'],
        hidden_channels=config['hidden_dim'],
        num_heads=config['nheads'],
        feedforward_channels=config['ffn'],
        num_layers=config['dec_layers'],
        dropout=dropout,
        class_channels=config['embed_hidden_dim'],
        class_layers=config['embed_layers'],
        norm_groups=config['gn_groups'],
    )
    model = nn.ModuleDict({'backbone': backbone, 'proposals': head})
    state = torch.load(folder / _WEIGHTS, map_location='cpu', weights_only=True)['state_dict']
    load_state_strict(model, from_ovseg(_float(state)), folder / _WEIGHTS)
    return model


def gradients(theirs: Tensor) -> Tolerance:
    """What a gradient may differ by: its entries are sums whose terms are as large as any of them.

    Args:
        theirs: the reference.
    """
    return Tolerance(atol=max(2e-6, 1e-5 * float(theirs.abs().max())), rtol=1e-3)


def pad_images(images: Sequence[Tensor], config: Mapping[str, Any]) -> Tensor:
    """Images (3, H, W) uint8 RGB, normalised and then padded with zeros to one size (B, 3, H, W).

    Args:
        images: of any sizes.
        config: with the pixel statistics and the divisor of the size.
    """
    preprocessor = SegDataPreProcessor(
        mean=config['pixel_mean'],
        std=config['pixel_std'],
        size_divisor=config['size_divisibility'],
    )
    samples = [SegDataSample() for _ in images]
    return preprocessor({'inputs': list(images), 'data_samples': samples}, training=True)['inputs']


def _config(folder: Path) -> dict[str, Any]:
    return torch.load(folder / _FORWARD, map_location='cpu', weights_only=True)['config']


def _float(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The files keep float32 weights that float16 can hold as float16."""
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }


@contextmanager
def _outputs_of(head: nn.Module) -> Iterator[dict[str, Any]]:
    """What the head's own modules gave last, by name."""
    seen: dict[str, Any] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, output, name=name: seen.__setitem__(name, output)
        )
        for name, module in head.named_children()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


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
