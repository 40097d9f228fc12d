"""Configs of DenseCLIP's detectors: the published settings, sizes and parameter names."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import yaml
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from scripts import ROOT

import ovseg.training.detectors
from ovseg.config_files import read_config
from ovseg.encoders import CLIPResNet, CLIPResNetWithAttention, CLIPVisionTransformer
from ovseg.registry import MODELS

FOLDER = ROOT / 'configs' / 'denseclip'
CONFIGS = [
    path
    for path in sorted(FOLDER.glob('*.py'))
    if path.stem.startswith(('retinanet_', 'mask_rcnn_'))
]
COCO = [path.stem for path in CONFIGS if path.stem.endswith('_fpn_1x_coco')]
TINY = [path.stem for path in CONFIGS if 'tiny' in path.stem]
# Blocks of the backbone, text space, keys of the backbone, published parameters in millions
# (without the text tower) of RetinaNet and Mask R-CNN.
PUBLISHED = {
    ('denseclip', 'r50'): ([3, 4, 6, 3], 1024, {'retinanet': 60, 'mask_rcnn': 67}),
    ('denseclip', 'r101'): ([3, 4, 23, 3], 512, {'retinanet': 78, 'mask_rcnn': 84}),
    ('clip', 'r50'): ([3, 4, 6, 3], None, {'retinanet': 38, 'mask_rcnn': 44}),
    ('clip', 'r101'): ([3, 4, 23, 3], None, {'retinanet': 57, 'mask_rcnn': 63}),
}
K = 80


@cache
def config_of(name):
    return read_config(FOLDER / f'{name}.py')


@cache
def model_of(name):
    """The full-size model without memory for its weights."""
    with torch.device('meta'), DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build(config_of(name).model)


def parts(name):
    """(detector, method, backbone) of a config's name."""
    detector, rest = name.split('_denseclip_' if '_denseclip_' in name else '_clip_')
    method = 'denseclip' if '_denseclip_' in name else 'clip'
    return detector, method, rest.split('_')[0]


def test_every_published_detector_has_a_config():
    wanted = {(kind, *key) for key, value in PUBLISHED.items() for kind in value[2]}
    assert {parts(name) for name in COCO} == wanted
    assert {parts(name) for name in TINY} == {
        (kind, method, 'tiny')
        for kind in ('retinanet', 'mask_rcnn')
        for method in ('denseclip', 'clip')
    }


@pytest.mark.parametrize('name', [*COCO, *TINY])
def test_a_config_builds_its_detector(name):
    detector, method, backbone = parts(name)
    model = model_of(name)
    guided = {
        'retinanet': ovseg.training.detectors.DenseCLIPRetinaNet,
        'mask_rcnn': ovseg.training.detectors.DenseCLIPMaskRCNN,
    }[detector]
    assert isinstance(model, guided) == (method == 'denseclip')
    assert isinstance(model, guided.__mro__[3]) and type(model.neck).__module__.startswith('mmdet.')
    resnet = {'denseclip': CLIPResNetWithAttention, 'clip': CLIPResNet}[method]
    assert type(model.backbone) is (CLIPVisionTransformer if backbone == 'tiny' else resnet)
    if method == 'denseclip' and backbone != 'tiny':
        assert model.backbone.attnpool.position == 'crop'


@pytest.mark.parametrize('name', COCO)
def test_published_architecture(name):
    detector, method, backbone = parts(name)
    layers, text_dim, millions = PUBLISHED[method, backbone]
    config, model = config_of(name), model_of(name)
    assert config.model.backbone.layers == layers
    counted = sum(
        value.numel()
        for key, value in model.named_parameters()
        if not key.startswith('text_encoder.')
    )
    assert counted / 1e6 == pytest.approx(millions[detector], abs=1.0)
    state = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    last = 2048 + (K if method == 'denseclip' else 0)
    if detector == 'retinanet':
        assert state['neck.lateral_convs.2.conv.weight'] == (256, last, 1, 1)
        assert state['neck.fpn_convs.3.conv.weight'] == (256, last, 3, 3)
        assert state['bbox_head.retina_cls.weight'] == (9 * K, 256, 3, 3)
    else:
        assert state['neck.lateral_convs.3.conv.weight'] == (256, last, 1, 1)
        assert state['roi_head.bbox_head.fc_cls.weight'] == (K + 1, 1024)
        assert state['roi_head.mask_head.conv_logits.weight'] == (K, 256, 1, 1)
    if method == 'denseclip':
        assert state['contexts'] == (1, 8, 512) and state['gamma'] == (text_dim,)
        assert state['backbone.attnpool.positional_embedding'] == (42 * 42 + 1, 2048)
        assert state['backbone.attnpool.c_proj.weight'] == (text_dim, 2048)
        assert state['text_encoder.text_projection'] == (512, text_dim)
        assert state['text_encoder.positional_embedding'] == (13, 512)


@pytest.mark.parametrize('name', COCO)
def test_published_recipe(name):
    detector, method, backbone = parts(name)
    config = config_of(name)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == {'retinanet': 1e-4, 'mask_rcnn': 2e-4}[detector]
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 1e-4)
    assert config.optim_wrapper.clip_grad.max_norm == 0.1
    warm_up, steps = config.param_scheduler
    assert (warm_up.start_factor, warm_up.end, warm_up.by_epoch) == (0.001, 500, False)
    assert (steps.milestones, steps.gamma, config.train_cfg.max_epochs) == ([8, 11], 0.1, 12)
    assert config.train_dataloader.batch_size == 2 and config.auto_scale_lr.base_batch_size == 16
    assert config.sync_bn == 'torch'
    scales = [
        step.scale
        for loader in (config.train_dataloader, config.test_dataloader)
        for step in loader.dataset.pipeline
        if step.type in ('Resize', 'mmdet.Resize')
    ]
    assert scales == [(1333, 800)] * 2
    preprocessor = config.model.data_preprocessor
    assert preprocessor.mean == [122.7709383, 116.7460125, 104.09373615]
    assert preprocessor.std == [68.5005327, 66.6321579, 70.32316305]
    assert preprocessor.bgr_to_rgb and preprocessor.pad_size_divisor == 32
    clip = {'r50': 'RN50-quickgelu', 'r101': 'RN101-quickgelu'}[backbone]
    named = config.model if method == 'denseclip' else config.model.backbone
    assert named.pretrained == dict(model=clip, pretrained='openai')
    assert config.test_evaluator.metric == ('bbox' if detector == 'retinanet' else ['bbox', 'segm'])
    if method == 'denseclip':
        assert config.model.freeze_text_encoder is False


@pytest.mark.parametrize('name', ['retinanet_denseclip_r50_fpn_1x_coco'])
def test_learning_rates_and_decay_of_the_groups(name):
    config, model = config_of(name), model_of(name)
    with DefaultScope.overwrite_default_scope('ovseg'):
        optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    names = {id(value): key for key, value in model.named_parameters()}
    found = {
        names[id(group['params'][0])]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
    }
    assert found['backbone.layer1.0.conv1.weight'] == pytest.approx((1e-5, 1e-4))
    assert found['text_encoder.text_projection'] == (0, 1e-4)
    assert found['context_decoder.decoder.0.norm1.weight'] == (1e-4, 0)
    assert found['contexts'] == found['bbox_head.retina_cls.weight'] == (1e-4, 1e-4)


def test_the_words_of_coco_are_those_of_the_labels():
    from mmdet.datasets import CocoDataset

    config = config_of('mask_rcnn_denseclip_r50_fpn_1x_coco')
    assert tuple(config.classes) == CocoDataset.METAINFO['classes']
    assert list(model_of('mask_rcnn_denseclip_r50_fpn_1x_coco').vocabulary.names) == config.classes


def test_the_words_of_scenes_are_those_of_its_files():
    from ovseg.scenes.world import OBJECTS

    for name in TINY:
        assert config_of(name).metainfo.classes == list(OBJECTS)


def test_published_numbers_in_the_metafile_are_marked_as_such():
    content = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))
    entries = {entry['Name']: entry for entry in content['Models']}
    for name in COCO:
        metrics = [
            metric for result in entries[name]['Results'] for metric in result['Metrics'].items()
        ]
        assert len(metrics) == (1 if parts(name)[0] == 'retinanet' else 2)
        for key, value in metrics:
            assert key.endswith('AP (published, not reproduced here)') and 30 < value < 50
