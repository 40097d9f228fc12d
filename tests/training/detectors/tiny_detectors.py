"""DenseCLIP's detectors with tiny random parts, and images of noise with labelled boxes."""

from __future__ import annotations

import copy
from typing import Any

import ovseg  # noqa: F401  (before mmdet, see ovseg/compat)

# isort: split
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from ovseg.training.detectors import DenseCLIPMaskRCNN, DenseCLIPRetinaNet

NAMES = ('cat', 'traffic light', 'hair drier')
SIZE = (64, 96)
SHARED: dict[str, Any] = dict(
    backbone=dict(
        type='CLIPResNetWithAttention',
        layers=[1, 1, 1, 1],
        width=4,
        output_dim=24,
        input_resolution=160,
        position='crop',
    ),
    text_encoder=dict(
        type='CLIPTextContextEncoder',
        context_length=8,
        embed_dim=24,
        transformer_width=32,
        transformer_heads=2,
        transformer_layers=1,
    ),
    context_decoder=dict(
        type='ContextDecoder', transformer_width=16, transformer_layers=1, visual_dim=24
    ),
    vocabulary=list(NAMES),
    token_embed_dim=32,
    text_dim=24,
)
_IN_CHANNELS = [16, 32, 64, 128 + len(NAMES)]
_ANCHORS = dict(type='AnchorGenerator', ratios=[1.0], scales=[8], strides=[4, 8, 16, 32, 64])
_NMS = dict(type='nms', iou_threshold=0.5)
RETINANET = dict(
    **SHARED,
    neck=dict(
        type='FPN',
        in_channels=_IN_CHANNELS,
        out_channels=16,
        start_level=1,
        add_extra_convs='on_input',
        num_outs=5,
    ),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=len(NAMES),
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        anchor_generator={**_ANCHORS, 'strides': [8, 16, 32, 64, 128]},
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
    ),
    # Random weights are sure of nothing.
    test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=_NMS, max_per_img=5),
)


def _region(size: int) -> dict[str, Any]:
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[4, 8, 16, 32],
    )


def _stage(threshold: float, share: float, add_boxes: bool) -> dict[str, Any]:
    return dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=threshold,
            neg_iou_thr=threshold,
            min_pos_iou=0.3,
        ),
        sampler=dict(
            type='RandomSampler', num=20, pos_fraction=share, add_gt_as_proposals=add_boxes
        ),
        allowed_border=-1,
        pos_weight=-1,
    )


_PROPOSALS = dict(nms_pre=50, max_per_img=20, nms=_NMS, min_bbox_size=0)
MASK_RCNN = dict(
    **SHARED,
    neck=dict(type='FPN', in_channels=_IN_CHANNELS, out_channels=16, num_outs=5),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=dict(_ANCHORS)
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=_region(7),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=16,
            fc_out_channels=24,
            num_classes=len(NAMES),
        ),
        mask_roi_extractor=_region(14),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=1,
            in_channels=16,
            conv_out_channels=16,
            num_classes=len(NAMES),
        ),
    ),
    train_cfg=dict(
        rpn=_stage(0.5, 0.5, False),
        rpn_proposal=_PROPOSALS,
        rcnn={**_stage(0.5, 0.25, True), 'mask_size': 28},
    ),
    test_cfg=dict(
        rpn=_PROPOSALS,
        rcnn=dict(score_thr=0.0, nms=_NMS, max_per_img=5, mask_thr_binary=0.5),
    ),
)
CONFIGS = {DenseCLIPRetinaNet: RETINANET, DenseCLIPMaskRCNN: MASK_RCNN}
KINDS = list(CONFIGS)


def build(kind: type, **changes: Any) -> Any:
    """A detector with seeded random weights, whose words matter."""
    torch.manual_seed(0)
    model = kind(**{**copy.deepcopy(CONFIGS[kind]), **changes})
    model.gamma.data.fill_(0.4)
    return model


def images(count: int = 2) -> torch.Tensor:
    """(count, 3, H, W), normalised noise."""
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def samples(count: int = 2, boxes: torch.Tensor | None = None) -> list[DetDataSample]:
    """Two labelled rectangles with their masks in each image, or the boxes given."""
    if boxes is None:
        boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0], [44.0, 16.0, 90.0, 60.0]])
    masks = np.zeros((len(boxes), *SIZE), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    facts = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), SIZE)
    made = []
    for _ in range(count):
        sample = DetDataSample(metainfo={**facts, 'scale_factor': (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=boxes.clone(),
            labels=torch.arange(len(boxes)) % len(NAMES),
            masks=BitmapMasks(masks.copy(), *SIZE),
        )
        made.append(sample)
    return made


def total(losses: dict[str, Any]) -> torch.Tensor:
    """The sum of all losses."""
    return sum(
        sum(value) if isinstance(value, list) else value
        for key, value in losses.items()
        if 'loss' in key
    ).sum()
