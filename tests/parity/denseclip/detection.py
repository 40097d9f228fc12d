"""Parity of DenseCLIP's detectors: features, scores, proposals, detections, losses, gradients.

Importing it imports mmdet's models, so the golden set does so inside its checks.
"""

from __future__ import annotations

from collections.abc import Mapping
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

from ovseg.training.detectors import DenseCLIPMaskRCNN, DenseCLIPRetinaNet
from ovseg.training.heads.score_map import join_score_map
from ovseg.training.losses import box_raster, box_segmentation_loss
from ovseg.training.losses.box_segmentation import STRIDE
from parity.denseclip.cases import (
    close,
    close_gradient,
    close_loss,
    compare_features,
    compare_gradients,
    compare_losses,
    compare_state,
    load_case,
    read_case,
    without_ignored,
)
from parity.denseclip.text_side import compare_text
from parity.report import EXACT, Case

Detector = DenseCLIPRetinaNet | DenseCLIPMaskRCNN
_CLASSES = {'DenseCLIP_RetinaNet': DenseCLIPRetinaNet, 'DenseCLIP_MaskRCNN': DenseCLIPMaskRCNN}


def check_box_target(file: Case, folder: Path) -> None:
    """The target that boxes make for the score map, and the loss with its gradient."""
    for name in file:
        case = file.inner(name)
        size, boxes, labels = tuple(case['img_hw']), case['gt_bboxes'], case['gt_labels']
        target, mask = box_raster(boxes, labels, case['num_classes'], size)
        case.compare(EXACT, target=target, mask=mask[:, 0])
        scores = case['score_map3_over_tau'].clone().requires_grad_()
        case.compare(close, score_map0_over_tau=_at_stride_4(scores.detach(), size))
        loss = box_segmentation_loss(scores, boxes, labels, size)
        loss.backward()
        case.compare(close_loss, loss=loss.detach())
        case.compare(close_gradient, grad_score_map3=scores.grad)


def build_case(content: Mapping[str, Any], **changes: Any) -> Detector:
    """The detector of a case with its weights."""
    settings = {'seg_loss': False, **without_ignored(content['config'])}  # upstream's default
    kind = _CLASSES[settings.pop('type')]
    settings['backbone']['position'] = 'crop'  # upstream has a second class of this name for it
    if kind is DenseCLIPRetinaNet:
        settings['train_cfg']['sampler'] = {'type': 'PseudoSampler'}  # mmdet 3.x asks for it
    names = settings.pop('class_names')
    # Upstream's published recipe trains the text encoder.
    model = kind(**{**settings, 'freeze_text_encoder': False, 'vocabulary': names, **changes})
    load_case(model, content)
    return model


def check_model(file: Case, folder: Path) -> None:
    """A case's weights."""
    compare_state(file, build_case(file.content))


@torch.no_grad()
def check_forward(file: Case, folder: Path) -> None:
    """Inference with values on the way."""
    model = build_case(read_case(file, folder, 'model')).eval()
    images = file['inputs']['img']
    features = model.backbone(images)
    compare_features(file.inner('backbone'), features)
    compare_text(file, model, features)
    encoded = model.encode(images)
    joined = join_score_map(
        features.levels, encoded.score_map, model.matching_settings.score_concat_index
    )
    file.compare(
        close,
        score_map3_over_tau=encoded.score_map,
        score_map0_over_tau=_at_stride_4(encoded.score_map, encoded.image_size),
        concat_feature=joined[model.matching_settings.score_concat_index],
    )
    pyramid = model.extract_feat(images)
    file.inner('neck').compare(close, {f'out{i}': level for i, level in enumerate(pyramid)})
    if isinstance(model, DenseCLIPRetinaNet):
        for name, levels in zip(
            ('cls_scores', 'bbox_preds'), model.bbox_head(pyramid), strict=True
        ):
            file.inner(name).compare(close, {f'l{i}': level for i, level in enumerate(levels)})
    else:
        proposals = model.rpn_head.predict(pyramid, _samples(images), rescale=False)
        for number, found in enumerate(proposals):
            _compare_boxes(file.inner('proposals'), number, found)
    detected = [
        sample.pred_instances for sample in model.predict(images, _samples(images), rescale=False)
    ]
    for case, found in zip(file.cases('dets'), detected, strict=True):
        _compare_boxes(case, 'bboxes_scores', found)
        case.compare(EXACT, labels=found.labels)
    if isinstance(model, DenseCLIPMaskRCNN):
        _check_masks(file, model, pyramid, detected)


def _compare_boxes(case: Case, key: str | int, found: InstanceData) -> None:
    """Boxes in pixels and scores in [0, 1], each with the tolerance of its own range."""
    boxes, scores = case.wanted(key)[:, :4], case.wanted(key)[:, 4]
    case.compare_as(key, found.bboxes, boxes, close)
    case.compare_as(f'{key}.scores', found.scores, scores, close)


def _check_masks(
    file: Case, model: DenseCLIPMaskRCNN, pyramid: tuple[Tensor, ...], detected: list[InstanceData]
) -> None:
    """Masks of the first detections in the order of the images, before they are pasted."""
    regions = bbox2roi([found.bboxes for found in detected])
    count = len(file.wanted('mask_probs_of_dets'))
    labels = torch.cat([found.labels for found in detected])[:count]
    logits = model.roi_head._mask_forward(pyramid, regions[:count])['mask_preds']
    file.compare(close, mask_probs_of_dets=logits[torch.arange(len(labels)), labels].sigmoid())


def check_training(file: Case, folder: Path) -> None:
    """A training step, and what the boxes teach the score map."""
    stored = read_case(file, folder, 'model')
    model = build_case(stored).train()
    images, inputs = read_case(file, folder, 'eval')['inputs']['img'], file['inputs']
    size = tuple(images.shape[2:])
    samples = _samples(images)
    for number, sample in enumerate(samples):
        sample.gt_instances = InstanceData(
            bboxes=inputs['gt_bboxes'][number], labels=inputs['gt_labels'][number]
        )
        if 'gt_masks' in inputs:
            masks = inputs['gt_masks'][number].numpy().astype(np.uint8)
            sample.gt_instances.masks = BitmapMasks(masks, *size)
    if 'seg_target' in file:
        classes = len(model.vocabulary)
        target, mask = box_raster(inputs['gt_bboxes'], inputs['gt_labels'], classes, size)
        file.compare(EXACT, seg_target=target, seg_mask=mask[:, 0])
    compare_losses(file, model.loss(images, samples))
    compare_gradients(file, model, stored['token_embedding']['ids'])


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
