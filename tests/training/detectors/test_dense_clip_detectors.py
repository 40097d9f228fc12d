"""DenseCLIP's RetinaNet and Mask R-CNN: losses, score map, predictions and what they refuse."""

from __future__ import annotations

import copy

import ovseg  # noqa: F401  (before mmdet, see ovseg/compat)

# isort: split
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import DefaultScope
from tiny_detectors import (
    CONFIGS,
    KINDS,
    MASK_RCNN,
    NAMES,
    RETINANET,
    SIZE,
    build,
    images,
    samples,
    total,
)

from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.training.detectors import DenseCLIPMaskRCNN, DenseCLIPRetinaNet
from ovseg.training.losses import box_segmentation_loss

KEYS = {
    DenseCLIPRetinaNet: {'loss_cls', 'loss_bbox', 'loss_seg'},
    DenseCLIPMaskRCNN: {
        *('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'acc', 'loss_bbox', 'loss_mask'),
        'loss_aux_seg',
    },
}
each_kind = pytest.mark.parametrize('kind', KINDS)


@each_kind
def test_losses_have_their_published_names_and_reach_every_trained_parameter(kind):
    model = build(kind, freeze_text_encoder=False).train()
    losses = model.loss(images(), samples())
    assert set(losses) == KEYS[kind]
    assert total(losses).isfinite()
    total(losses).backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert not without
    for name in ('contexts', 'gamma', 'text_encoder.text_projection', 'backbone.conv1.weight'):
        assert model.get_parameter(name).grad.any(), name


@each_kind
def test_a_frozen_text_encoder_gets_no_gradient_but_the_contexts_do(kind):
    model = build(kind).train()
    total(model.loss(images(), samples())).backward()
    assert all(value.grad is None for value in model.text_encoder.parameters())
    assert model.contexts.grad.any()


@each_kind
def test_without_seg_loss_the_score_map_is_not_trained_directly(kind):
    losses = build(kind, seg_loss=False).train().loss(images(), samples())
    assert set(losses) == KEYS[kind] - {kind.SCORE_MAP_LOSS}


@each_kind
def test_images_without_objects_give_finite_losses_and_gradients(kind):
    model = build(kind).train()
    losses = model.loss(images(), samples(boxes=torch.zeros(0, 4)))
    assert losses[kind.SCORE_MAP_LOSS] == 0
    total(losses).backward()
    assert all(v.grad.isfinite().all() for v in model.parameters() if v.grad is not None)


@each_kind
def test_the_pyramid_and_the_loss_take_the_cosines_over_tau(kind):
    model = build(kind, tau=0.05).eval()
    seen = []
    model.neck.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    with torch.no_grad():
        cosines = model.match(model.backbone(images())).score_map
        encoded = model.encode(images())
        loss = model.score_map_loss(encoded, samples())
    assert cosines.abs().max() <= 1
    torch.testing.assert_close(seen[3][:, -len(NAMES) :], cosines / 0.05)
    found = [sample.gt_instances for sample in samples()]
    wanted = box_segmentation_loss(
        cosines / 0.05, [f.bboxes for f in found], [f.labels for f in found], SIZE
    )
    torch.testing.assert_close(loss, wanted)


def test_masks_play_no_part_in_the_loss_of_the_score_map():
    model = build(DenseCLIPMaskRCNN).train()
    encoded = model.encode(images())
    without_masks = samples()
    for sample in without_masks:
        count = len(sample.gt_instances)
        sample.gt_instances.masks = BitmapMasks(torch.zeros(count, *SIZE).byte().numpy(), *SIZE)
    losses = [model.score_map_loss(encoded, batch) for batch in (samples(), without_masks)]
    assert torch.equal(*losses) and losses[0] > 0


@each_kind
def test_boxes_of_mmdets_own_type_are_taken(kind):
    model = build(kind).train()
    encoded, wrapped = model.encode(images()), samples()
    for sample in wrapped:
        sample.gt_instances.bboxes = HorizontalBoxes(sample.gt_instances.bboxes)
    assert torch.equal(
        model.score_map_loss(encoded, wrapped), model.score_map_loss(encoded, samples())
    )


@each_kind
def test_a_batch_is_predicted_as_its_images_are(kind):
    model = build(kind).eval()
    with torch.no_grad():
        both = model.predict(images(), samples())
        single = [
            model.predict(image[None], [sample])[0]
            for image, sample in zip(images(), samples(), strict=True)
        ]
    for ours, alone in zip(both, single, strict=True):
        found = ours.pred_instances
        assert 0 < len(found) <= 5
        torch.testing.assert_close(found.bboxes, alone.pred_instances.bboxes, atol=1e-3, rtol=1e-4)
        assert torch.equal(found.labels, alone.pred_instances.labels)
        assert (
            found.bboxes.min() >= 0 and (found.bboxes.amax(0)[2:] <= torch.tensor([96, 64])).all()
        )
        if kind is DenseCLIPMaskRCNN:
            assert found.masks.shape == (len(found), *SIZE)


@each_kind
def test_the_words_move_the_predictions(kind):
    model, other = build(kind).eval(), build(kind, vocabulary=['dog', 'bus', 'cup']).eval()
    with torch.no_grad():
        first, second = (m.extract_feat(images(1))[-1] for m in (model, other))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize('scope', ['ovseg', 'mmseg', 'mmdet'])
@pytest.mark.parametrize(
    ('name', 'config'), [('DenseCLIP_RetinaNet', RETINANET), ('DenseCLIP_MaskRCNN', MASK_RCNN)]
)
def test_a_config_builds_under_any_default_scope(scope, name, config):
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build({'_scope_': 'ovseg', 'type': name, **copy.deepcopy(config)})
    assert type(model.neck).__module__.startswith('mmdet.')
    assert type(model.backbone).__name__ == 'CLIPResNetWithAttention'


@each_kind
def test_published_keys_and_no_others(kind):
    keys = build(kind).state_dict()
    parts = {name.split('.')[0] for name in keys}
    heads = {'bbox_head'} if kind is DenseCLIPRetinaNet else {'rpn_head', 'roi_head'}
    shared = {'backbone', 'text_encoder', 'context_decoder', 'neck', 'contexts', 'gamma'}
    assert parts == shared | heads
    assert keys['contexts'].shape == (1, 3, 32) and keys['gamma'].shape == (24,)
    assert keys['backbone.attnpool.positional_embedding'].shape == (26, 128)


@each_kind
def test_its_classes_are_there_to_be_compared_with_those_of_the_data(kind):
    assert build(kind).vocabulary.names == NAMES


def test_pretrained_is_for_both_towers_where_they_name_none():
    own = {**RETINANET['text_encoder'], 'pretrained': 'text.pt'}
    model = build(DenseCLIPRetinaNet, pretrained='clip.pt', text_encoder=own)
    assert model.backbone.pretrained == 'clip.pt'
    assert model.text_encoder.pretrained == 'text.pt'


def changed(config, path, value):
    """A part of the config with another value deep inside."""
    part = copy.deepcopy(config[path[0]])
    inner = part
    for key in path[1:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return {path[0]: part}


@pytest.mark.parametrize(
    ('kind', 'changes', 'message'),
    [
        (
            DenseCLIPRetinaNet,
            {'vocabulary': ['cat', 'dog']},
            'model.vocabulary has 2 classes but model.bbox_head.num_classes is 3',
        ),
        (
            DenseCLIPMaskRCNN,
            changed(MASK_RCNN, ('roi_head', 'mask_head', 'num_classes'), 4),
            'model.vocabulary has 3 classes but model.roi_head.mask_head.num_classes is 4',
        ),
        (
            DenseCLIPMaskRCNN,
            changed(MASK_RCNN, ('roi_head', 'bbox_head', 'num_classes'), 80),
            'model.roi_head.bbox_head.num_classes is 80',
        ),
        (DenseCLIPRetinaNet, {'clip_head': False}, 'model.clip_head has no effect'),
        (DenseCLIPMaskRCNN, {'text_adapter': None}, 'model.text_adapter has no effect'),
        (DenseCLIPRetinaNet, {'text_dim': 32}, 'model.context_decoder.visual_dim is 24'),
        (DenseCLIPRetinaNet, {'context_length': 3}, "the class 'traffic light' has 4 tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(kind, changes, message):
    with pytest.raises(UserError, match=message):
        build(kind, **changes)


@each_kind
def test_a_level_of_another_grid_is_refused(kind):
    model = build(kind, score_concat_index=2)
    with pytest.raises(UserError, match='model.score_concat_index=2, but .* set it to 3'):
        model.loss(images(), samples())


@each_kind
def test_a_neck_that_does_not_count_the_classes_is_refused(kind):
    neck = {**CONFIGS[kind]['neck'], 'in_channels': [16, 32, 64, 128]}
    message = r'model.neck.in_channels is \[16, 32, 64, 128\], but .* 131\] channels: level 3'
    with pytest.raises(UserError, match=message):
        build(kind, neck=neck).loss(images(), samples())


def test_a_batch_larger_than_the_position_table_is_refused():
    model = build(DenseCLIPRetinaNet)
    with pytest.raises(UserError, match='input_resolution'):
        model.extract_feat(torch.zeros(1, 3, 64, 192))
