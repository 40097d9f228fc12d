"""Parity of DenseCLIP's detectors: features, scores, proposals, detections, losses, gradients.

Importing it imports mmdet's models, so ``check.py`` does so inside its check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from ovseg.parity.denseclip_cases import (
    case_of,
    close,
    compare_gradients,
    compare_losses,
    compare_state,
    compare_tensors,
    load_case,
    read_case,
    without_ignored,
)
from ovseg.parity.report import EXACT, Report
from ovseg.training.detectors import DenseCLIPMaskRCNN, DenseCLIPRetinaNet
from ovseg.training.heads.pixel_text_matching import join_score_map
from ovseg.training.losses import box_raster, box_segmentation_loss
from ovseg.training.losses.box_segmentation import STRIDE

Detector = DenseCLIPRetinaNet | DenseCLIPMaskRCNN
_CLASSES = {'DenseCLIP_RetinaNet': DenseCLIPRetinaNet, 'DenseCLIP_MaskRCNN': DenseCLIPMaskRCNN}


def check_detector(report: Report, folder: Path) -> None:
    """A file of a case ``*_det``: its weights, inference with values on the way, or training."""
    case, part = case_of(report)
    stored = report.content if part == 'model' else read_case(folder, case, 'model')
    model = build_case(stored)
    if part == 'model':
        compare_state(report, model)
    elif part == 'eval':
        _check_forward(report, model.eval())
    else:
        images = read_case(folder, case, 'eval')['inputs']['img']
        _check_training(report, model.train(), images, stored['token_embedding']['ids'])


def check_box_target(report: Report, folder: Path) -> None:
    """The target that boxes make for the score map, and the loss with its gradient."""
    for name, case in report.content.items():
        report.use(*(f'{name}.{key}' for key in ('img_hw', 'num_classes', 'gt_bboxes')))
        report.use(f'{name}.gt_labels')
        size, boxes, labels = tuple(case['img_hw']), case['gt_bboxes'], case['gt_labels']
        target, mask = box_raster(boxes, labels, case['num_classes'], size)
        report.compare(f'{name}.target', target.to(case['target'].dtype), case['target'], EXACT)
        report.compare(f'{name}.mask', mask[:, 0].to(case['mask'].dtype), case['mask'], EXACT)
        scores = case['score_map3_over_tau'].clone().requires_grad_()
        report.use(f'{name}.score_map3_over_tau')
        fine = _at_stride_4(scores.detach(), size)
        loss = box_segmentation_loss(scores, boxes, labels, size)
        loss.backward()
        compare_tensors(report, name, {'score_map0_over_tau': fine})
        wanted = torch.tensor(case['loss'])
        report.compare(f'{name}.loss', loss.detach(), wanted, close(wanted, rtol=1e-5))
        wanted = case['grad_score_map3']
        report.compare(f'{name}.grad_score_map3', scores.grad, wanted, close(wanted, rtol=1e-3))


def build_case(content: dict[str, Any], **changes: Any) -> Detector:
    """The detector of a case with its weights.

    Args:
        content: of ``<case>_model.pt``.
        changes: arguments that replace the case's.
    """
    settings = without_ignored(content['config'])
    kind = _CLASSES[settings.pop('type')]
    settings['backbone']['position'] = 'crop'  # upstream has a second class of this name for it
    if kind is DenseCLIPRetinaNet:
        settings['train_cfg']['sampler'] = {'type': 'PseudoSampler'}  # mmdet 3.x asks for it
    names = settings.pop('class_names')
    # Upstream's published recipe trains the text encoder.
    model = kind(**{**settings, 'freeze_text_encoder': False, 'vocabulary': names, **changes})
    load_case(model, content)
    return model


@torch.no_grad()
def _check_forward(report: Report, model: Detector) -> None:
    report.use('inputs')
    content = report.content
    images = content['inputs']['img']
    features = model.backbone(images)
    ours = {f'level{number}': level for number, level in enumerate(features.levels)}
    ours['global_feat'] = features.global_embedding
    ours['visual_embeddings'] = features.dense_embedding
    compare_tensors(report, 'backbone', {key: ours[key] for key in content['backbone']})
    encoded = model.encode(images)
    joined = join_score_map(features.levels, encoded.score_map, model.score_concat_index)
    compare_tensors(
        report,
        '',
        {
            'text_embeddings_before': model.embed_text(),
            'text_embeddings': model.match(features).text,
            'score_map3_over_tau': encoded.score_map,
            'score_map0_over_tau': _at_stride_4(encoded.score_map, encoded.image_size),
            'concat_feature': joined[model.score_concat_index],
        },
    )
    pyramid = model.extract_feat(images)
    compare_tensors(report, 'neck', {f'out{i}': level for i, level in enumerate(pyramid)})
    if isinstance(model, DenseCLIPRetinaNet):
        for name, levels in zip(
            ('cls_scores', 'bbox_preds'), model.bbox_head(pyramid), strict=True
        ):
            compare_tensors(report, name, {f'l{i}': level for i, level in enumerate(levels)})
    else:
        _check_proposals(report, model, pyramid, _samples(images))
    detected = [
        sample.pred_instances for sample in model.predict(images, _samples(images), rescale=False)
    ]
    for number, (found, wanted) in enumerate(zip(detected, content['dets'], strict=True)):
        _compare_boxes(report, f'dets.{number}.bboxes_scores', found, wanted['bboxes_scores'])
        report.compare(f'dets.{number}.labels', found.labels, wanted['labels'], EXACT)
    if isinstance(model, DenseCLIPMaskRCNN):
        _check_masks(report, model, pyramid, detected)


def _check_proposals(
    report: Report,
    model: DenseCLIPMaskRCNN,
    pyramid: tuple[Tensor, ...],
    samples: list[DetDataSample],
) -> None:
    proposals = model.rpn_head.predict(pyramid, samples, rescale=False)
    for number, (found, wanted) in enumerate(
        zip(proposals, report.content['proposals'], strict=True)
    ):
        _compare_boxes(report, f'proposals.{number}', found, wanted)


def _compare_boxes(report: Report, path: str, found: InstanceData, wanted: Tensor) -> None:
    """Boxes in pixels and scores in [0, 1], each with the tolerance of its own range."""
    boxes, scores = wanted[:, :4], wanted[:, 4]
    report.compare(path, found.bboxes, boxes, close(boxes))
    report.compare(f'{path}.scores', found.scores, scores, close(scores))


def _check_masks(
    report: Report,
    model: DenseCLIPMaskRCNN,
    pyramid: tuple[Tensor, ...],
    detected: list[InstanceData],
) -> None:
    """Masks of the first detections in the order of the images, before they are pasted."""
    regions = bbox2roi([found.bboxes for found in detected])
    wanted = report.content['mask_probs_of_dets']
    labels = torch.cat([found.labels for found in detected])[: len(wanted)]
    logits = model.roi_head._mask_forward(pyramid, regions[: len(wanted)])['mask_preds']
    ours = logits[torch.arange(len(labels)), labels].sigmoid()
    report.compare('mask_probs_of_dets', ours, wanted, close(wanted))


def _check_training(report: Report, model: Detector, images: Tensor, ids: Tensor) -> None:
    content = report.content
    report.use('inputs')
    inputs = content['inputs']
    size = tuple(images.shape[2:])
    samples = _samples(images)
    for number, sample in enumerate(samples):
        sample.gt_instances = InstanceData(
            bboxes=inputs['gt_bboxes'][number], labels=inputs['gt_labels'][number]
        )
        if 'gt_masks' in inputs:
            masks = inputs['gt_masks'][number].numpy().astype(np.uint8)
            sample.gt_instances.masks = BitmapMasks(masks, *size)
    classes = len(model.vocabulary)
    target, mask = box_raster(inputs['gt_bboxes'], inputs['gt_labels'], classes, size)
    report.compare('seg_target', target, content['seg_target'], EXACT)
    report.compare('seg_mask', mask[:, 0], content['seg_mask'], EXACT)
    compare_losses(report, model.loss(images, samples))
    compare_gradients(report, model, ids)


def _samples(images: Tensor) -> list[DetDataSample]:
    """Samples of images that nothing has resized."""
    size = tuple(images.shape[2:])
    facts = {
        **dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), size),
        'scale_factor': (1.0, 1.0),
    }
    return [DetDataSample(metainfo=facts) for _ in images]


def _at_stride_4(scores: Tensor, image_size: tuple[int, int]) -> Tensor:
    """A score map as the loss takes it."""
    fine = [side // STRIDE for side in image_size]
    return F.interpolate(scores, fine, mode='bilinear', align_corners=False)
