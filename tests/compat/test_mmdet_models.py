"""Three detectors of mmdet, built from its own configs, run without mmcv's extension."""

from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

import ovseg  # noqa: F401

HEIGHT, WIDTH = 64, 96
NUM_CLASSES = 3
IMAGES = 2

# What makes a published config small; the rest of it is used as it is.
SMALL_RESNET = dict(depth=18, init_cfg=None)
SMALL_RESNET_CHANNELS = [64, 128, 256, 512]
SMALLER = {
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': {
        'backbone': SMALL_RESNET,
        'neck.in_channels': SMALL_RESNET_CHANNELS,
        'roi_head.bbox_head.num_classes': NUM_CLASSES,
        'roi_head.bbox_head.fc_out_channels': 32,
        'roi_head.mask_head.num_classes': NUM_CLASSES,
        'roi_head.mask_head.num_convs': 1,
        'train_cfg.rpn_proposal.max_per_img': 20,
        'train_cfg.rcnn.sampler.num': 20,
        'test_cfg.rpn.max_per_img': 20,
        'test_cfg.rcnn.score_thr': 0.0,  # random weights are sure of nothing
        'test_cfg.rcnn.max_per_img': 5,
    },
    'retinanet/retinanet_r50_fpn_1x_coco.py': {
        'backbone': SMALL_RESNET,
        'neck.in_channels': SMALL_RESNET_CHANNELS,
        'bbox_head.num_classes': NUM_CLASSES,
        'bbox_head.stacked_convs': 1,
        'test_cfg.score_thr': 0.0,
        'test_cfg.max_per_img': 5,
    },
    'maskformer/maskformer_r50_ms-16xb1-75e_coco.py': {
        'backbone': SMALL_RESNET,
        'panoptic_head.in_channels': SMALL_RESNET_CHANNELS,
        'panoptic_head.num_things_classes': 2,
        'panoptic_head.num_stuff_classes': 1,
        'panoptic_head.num_queries': 6,
        'panoptic_head.pixel_decoder.encoder.num_layers': 1,
        'panoptic_head.transformer_decoder.num_layers': 2,
        'panoptic_head.loss_cls.class_weight': [1.0] * NUM_CLASSES + [0.1],
        'panoptic_fusion_head.num_things_classes': 2,
        'panoptic_fusion_head.num_stuff_classes': 1,
        'test_cfg.object_mask_thr': 0.0,
    },
}
MASK_RCNN, RETINANET, MASKFORMER = SMALLER


def build(config: str) -> nn.Module:
    """The model of one of mmdet's configs, made small, with seeded random weights."""
    from mmdet.registry import MODELS

    package = Path(mmdet.__file__).parent
    # An installed package carries its configs in .mim, a checkout has them beside it.
    folder = next(f for f in (package / '.mim/configs', package.parent / 'configs') if f.is_dir())
    cfg = Config.fromfile(folder / config)
    cfg.merge_from_dict({f'model.{key}': value for key, value in SMALLER[config].items()})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def batch() -> dict[str, list]:
    """Images of noise with two labelled rectangles each, as mmdet's data loaders give them."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0], [44.0, 16.0, 90.0, 60.0]])
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8)
    semantic = torch.full((1, HEIGHT, WIDTH), 2)
    for label, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
        masks[label, y1:y2, x1:x2] = 1
        semantic[0, y1:y2, x1:x2] = label

    samples = []
    for _ in range(IMAGES):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(HEIGHT, WIDTH),
                ori_shape=(HEIGHT, WIDTH),
                pad_shape=(HEIGHT, WIDTH),
                batch_input_shape=(HEIGHT, WIDTH),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes.clone(),
            labels=torch.tensor([0, 1]),
            masks=BitmapMasks(masks.numpy(), HEIGHT, WIDTH),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
        sample.gt_sem_seg = PixelData(sem_seg=semantic.clone())
        samples.append(sample)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (IMAGES, 3, HEIGHT, WIDTH), generator=generator)
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples)


def losses_of(model: nn.Module) -> dict[str, Tensor]:
    model.train()
    losses = model(**model.data_preprocessor(batch(), training=True), mode='loss')
    return {
        name: sum(loss) if isinstance(loss, list) else loss
        for name, loss in losses.items()
        if 'loss' in name
    }


@pytest.mark.parametrize('config', SMALLER)
def test_losses_are_finite_and_reach_every_part(config):
    model = build(config)
    losses = losses_of(model)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    for name, part in model.named_children():
        trained = [p for p in part.parameters() if p.requires_grad]
        assert not trained or any(p.grad is not None and p.grad.any() for p in trained), name


def test_gradient_of_the_mask_loss_passes_through_roi_align():
    model = build(MASK_RCNN)
    losses_of(model)['loss_mask'].backward()
    assert model.rpn_head.rpn_conv.weight.grad is None
    assert model.backbone.layer4[-1].conv2.weight.grad.any()


def predict(config: str) -> list:
    model = build(config).eval()
    with torch.no_grad():
        return model(**model.data_preprocessor(batch(), training=False), mode='predict')


def test_mask_rcnn_predicts_boxes_and_masks():
    for sample in predict(MASK_RCNN):
        found = sample.pred_instances
        assert 0 < len(found) <= 5
        assert found.masks.shape == (len(found), HEIGHT, WIDTH)
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_retinanet_predicts_boxes_inside_the_image():
    for sample in predict(RETINANET):
        found = sample.pred_instances
        assert 0 < len(found) <= 5
        assert (found.bboxes[:, 2::2] - found.bboxes[:, :2:2] >= 0).all()
        assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= WIDTH


def test_maskformer_predicts_a_panoptic_map():
    for sample in predict(MASKFORMER):
        assert sample.pred_panoptic_seg.sem_seg.shape == (1, HEIGHT, WIDTH)
