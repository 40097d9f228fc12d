from __future__ import annotations

from functools import cache

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from scripts import ROOT
from torch import nn

from ovseg.config_files import read_config
from ovseg.encoders import CLIPResNet, CLIPResNetWithAttention, CLIPVisionTransformer
from ovseg.registry import DATASETS, MODELS
from ovseg.segmentors import DenseCLIP, TrainedSegmentor
from ovseg.vocabulary import build_vocabulary

FOLDER = ROOT / 'configs' / 'denseclip'
CONFIGS = sorted(FOLDER.glob('*.py'))
# Name -> side in pixels, stride of windows, text space, level with the score map, widths of the
# neck, keys of the state dict.
PUBLISHED = {
    'denseclip_fpn_r50_512x512_80k_ade20k': (512, 341, 1024, 3, [256, 512, 1024, 2198], 624),
    'denseclip_fpn_r101_512x512_80k_ade20k': (512, 341, 512, 3, [256, 512, 1024, 2198], 930),
    'denseclip_fpn_vit-b_640x640_80k_ade20k': (640, 426, 512, 2, [768, 768, 918, 768], 456),
    'fpn_clip_r50_512x512_80k_ade20k': (512, 341, None, None, [256, 512, 1024, 2048], None),
    'fpn_clip_r101_512x512_80k_ade20k': (512, 341, None, None, [256, 512, 1024, 2048], None),
    'fpn_clip_vit-b_640x640_80k_ade20k': (640, 426, None, None, [768, 768, 768, 768], None),
}
TINY = ('denseclip_fpn_tiny_600_scenes-192x192', 'fpn_clip_tiny_600_scenes-192x192')
PRETRAINED = {'r50': 'RN50-quickgelu', 'r101': 'RN101-quickgelu', 'vit-b': 'ViT-B-16-quickgelu'}
LAYERS = {'r50': [3, 4, 6, 3], 'r101': [3, 4, 23, 3], 'vit-b': 12}


@cache
def config_of(name):
    return read_config(FOLDER / f'{name}.py')


@cache
def model_of(name):
    """The full-size model without memory for its weights."""
    with torch.device('meta'), DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build(config_of(name).model)


def backbone_of(name):
    return next(key for key in PRETRAINED if f'_{key}_' in name)


def step(pipeline, kind):
    (found,) = (item for item in pipeline if item.type == kind)
    return found


@pytest.mark.parametrize('name', [*PUBLISHED, *TINY])
def test_a_config_builds_its_model(name):
    model = model_of(name)
    guided = name.startswith('denseclip')
    assert type(model) is (DenseCLIP if guided else TrainedSegmentor)
    assert isinstance(model.backbone, (CLIPResNet, CLIPVisionTransformer))
    assert isinstance(model.backbone, CLIPResNetWithAttention) == (
        guided and backbone_of(name) != 'vit-b' if name in PUBLISHED else False
    )
    assert (
        model.trained_vocabulary.names == build_vocabulary(config_of(name).model.vocabulary).names
    )
    assert not any(p.requires_grad is False for p in model.backbone.parameters())


@pytest.mark.parametrize('name', PUBLISHED)
def test_sizes_are_the_published_ones(name):
    config, (side, stride, *_) = config_of(name), PUBLISHED[name]
    loader = config.train_dataloader
    assert loader.batch_size == 4 and config.auto_scale_lr.base_batch_size == 32
    pipeline = loader.dataset.pipeline
    resize, crop = step(pipeline, 'RandomResize'), step(pipeline, 'RandomCrop')
    assert tuple(resize.scale) == (2048, side) and resize.keep_ratio
    assert tuple(resize.ratio_range) == (0.5, 2.0)
    assert tuple(crop.crop_size) == (side, side) and crop.cat_max_ratio == 0.75
    assert step(pipeline, 'RandomFlip').prob == 0.5 and step(pipeline, 'PhotoMetricDistortion')
    assert tuple(config.model.data_preprocessor.size) == (side, side)
    for part in ('val', 'test'):
        resize = config[f'{part}_dataloader'].dataset.resize
        assert tuple(resize.scale) == (2048, side) and resize.keep_ratio
    settings = model_of(name).inference_settings
    assert settings.mode == 'slide'
    assert (settings.crop_size, settings.stride) == ((side, side), (stride, stride))
    means = [channel * 255 for channel in (0.48145466, 0.4578275, 0.40821073)]
    deviations = [channel * 255 for channel in (0.26862954, 0.26130258, 0.27577711)]
    assert config.model.data_preprocessor.mean == pytest.approx(means, rel=1e-6)
    assert config.model.data_preprocessor.std == pytest.approx(deviations, rel=1e-6)
    assert config.model.data_preprocessor.bgr_to_rgb


@pytest.mark.parametrize('name', PUBLISHED)
def test_parts_are_the_published_ones(name):
    config, model = config_of(name).model, model_of(name)
    side, _, text_dim, index, widths, _ = PUBLISHED[name]
    key = backbone_of(name)
    assert config.neck.in_channels == widths and config.neck.out_channels == 256
    head = model.decode_head
    assert (head.num_classes, head.channels, head.dropout.p) == (150, 256, 0.1)
    assert head.norm_cfg.type == 'SyncBN' and not head.loss_decode.avg_non_ignore
    assert config.backbone.layers == LAYERS[key]
    if key == 'vit-b':
        assert model.backbone.drop_path_rates[-1] == pytest.approx(0.1)
        assert model.backbone.out_indices == (3, 5, 7, 11)
        assert model.backbone.positional_embedding.shape == (1601, 768)
    pretrained = dict(model=PRETRAINED[key], pretrained='openai')
    assert model.backbone.pretrained == pretrained
    if text_dim is None:
        return
    assert model.text_encoder.pretrained == pretrained
    settings = model.matching_settings
    assert (settings.tau, settings.prompting) == (0.07, 'post')
    assert settings.score_concat_index == index
    assert model.contexts.shape == (1, 8, 512) and model.gamma.shape == (text_dim,)
    assert model.tokens.shape == (150, 5)
    assert model.identity_head.loss_decode.loss_weight == 0.4
    assert not model.identity_head.loss_decode.avg_non_ignore
    decoder = config.context_decoder
    assert (decoder.transformer_width, decoder.transformer_heads) == (256, 4)
    assert (decoder.transformer_layers, decoder.dropout) == (3, 0.1)
    assert not model.text_head and not model.with_auxiliary_head
    assert config.backbone.input_resolution == side


@pytest.mark.parametrize('name', [name for name in PUBLISHED if PUBLISHED[name][-1]])
def test_the_state_dict_has_the_published_keys(name):
    side, _, text_dim, index, widths, count = PUBLISHED[name]
    shapes = {key: tuple(value.shape) for key, value in model_of(name).state_dict().items()}
    assert len(shapes) == count
    expected = {
        'contexts': (1, 8, 512),
        'gamma': (text_dim,),
        'text_encoder.positional_embedding': (13, 512),
        'text_encoder.text_projection': (512, text_dim),
        'text_encoder.token_embedding.weight': (49408, 512),
        'context_decoder.memory_proj.1.weight': (256, text_dim),
        'context_decoder.decoder.2.cross_attn.k_proj.weight': (256, 256),
        'context_decoder.out_proj.1.weight': (text_dim, 256),
        **{f'neck.lateral_convs.{i}.conv.weight': (256, n, 1, 1) for i, n in enumerate(widths)},
        **{f'neck.fpn_convs.{i}.conv.bias': (256,) for i in range(4)},
        'decode_head.conv_seg.weight': (150, 256, 1, 1),
        **{
            f'decode_head.scale_heads.{place}.conv.weight': (256, 256, 3, 3)
            for place in ('0.0', '1.0', '2.0', '2.2', '3.0', '3.2', '3.4')
        },
        'decode_head.scale_heads.3.4.bn.running_var': (256,),
    }
    if backbone_of(name) != 'vit-b':
        expected['backbone.attnpool.positional_embedding'] = (257, 2048)
    assert {key: shapes.get(key) for key in expected} == expected
    roots = {key.split('.')[0] for key in shapes}
    assert roots == {
        *('contexts', 'gamma', 'backbone', 'text_encoder', 'context_decoder'),
        *('neck', 'decode_head'),
    }


@pytest.mark.parametrize('name', PUBLISHED)
def test_rates_and_decays_of_all_parameters_are_the_published_ones(name):
    config, model = config_of(name), model_of(name)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults['betas'] == (0.9, 0.999)
    assert 'clip_grad' not in config.optim_wrapper
    names = {id(value): key for key, value in model.named_parameters()}
    seen, undecayed = set(), set()
    for group in optimizer.param_groups:
        for parameter in group['params']:
            key = names[id(parameter)]
            seen.add(key)
            rate = {'text_encoder': 0.0, 'backbone': 1e-5}.get(key.split('.')[0], 1e-4)
            assert group['lr'] == pytest.approx(rate), key
            assert group['weight_decay'] in (0, 1e-4)
            if not group['weight_decay']:
                undecayed.add(key)
    assert seen == set(names.values())
    assert undecayed == {
        f'context_decoder.decoder.{layer}.norm{number}.{kind}'
        for layer in range(3 if name.startswith('denseclip') else 0)
        for number in (1, 2, 3)
        for kind in ('weight', 'bias')
    }


def test_the_text_encoder_trains_under_its_rate_of_zero_as_published():
    for name in PUBLISHED:
        if name.startswith('denseclip'):
            assert all(p.requires_grad for p in model_of(name).text_encoder.parameters())
    tiny = model_of('denseclip_fpn_tiny_600_scenes-192x192')
    assert not any(p.requires_grad for p in tiny.text_encoder.parameters())


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_schedule_is_the_published_one(name):
    config = config_of(name)
    assert config.train_cfg.max_iters == 80000 and config.train_cfg.val_interval == 8000
    assert config.default_hooks.checkpoint.interval == 8000
    assert config.default_hooks.checkpoint.save_best == 'mIoU'
    assert config.param_scheduler == config_of(next(iter(PUBLISHED))).param_scheduler


def published_rate(base, iteration):
    """mmcv 1.x: a linear warm-up multiplies a polynomial with a floor."""
    rate = (base - 1e-6) * (1 - iteration / 80000) ** 0.9 + 1e-6
    if iteration < 1500:
        rate *= 1 - (1 - iteration / 1500) * (1 - 1e-6)
    return rate


def test_learning_rates_follow_the_published_curve():
    config = config_of('denseclip_fpn_r50_512x512_80k_ade20k')
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(3)]
    groups = [
        dict(params=[weight], lr=rate)
        for weight, rate in zip(weights, (1e-4, 1e-5, 0.0), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups)
    optimizer.step()
    schedulers = [
        PARAM_SCHEDULERS.build(dict(settings, optimizer=optimizer))
        for settings in config.param_scheduler
    ]
    wanted = (0, 750, 1500, 40000, 79999)
    found = {}
    for iteration in range(80000):
        if iteration in wanted:
            found[iteration] = [group['lr'] for group in optimizer.param_groups]
        for scheduler in schedulers:
            scheduler.step()
    for iteration in wanted:
        plain, backbone, text = found[iteration]
        assert plain == pytest.approx(published_rate(1e-4, iteration), rel=0.008)
        # mmengine adds the floor after the warm-up's factor, which shows at a rate near the floor.
        assert backbone == pytest.approx(published_rate(1e-5, iteration), rel=0.015)
        # A rate of zero climbs to the floor: not a frozen text encoder.
        assert 0 <= text <= 1e-6
    assert found[40000][0] == pytest.approx(published_rate(1e-4, 40000), rel=0.0015)
    assert found[40000][2] == pytest.approx(published_rate(0.0, 40000), abs=1e-7)


@pytest.mark.parametrize('name', PUBLISHED)
def test_data_and_words_have_the_same_classes(name):
    config = config_of(name)
    kinds = {config[f'{part}_dataloader'].dataset.type for part in ('train', 'val', 'test')}
    assert len(kinds) == 1
    classes = DATASETS.get(kinds.pop()).METAINFO['classes']
    words = model_of(name).trained_vocabulary
    assert len(words) == len(classes) == 150
    shown = [item.prompts[0].strip() for item in words]
    assert shown == [name.strip() for name in classes]


def test_the_tiny_pair_differs_in_the_words_only():
    guided, plain = (config_of(name) for name in TINY)
    for key in ('train_dataloader', 'test_dataloader', 'param_scheduler'):
        assert guided[key] == plain[key]
    # Only the context decoder has parameters named norm.
    keys = dict(guided.optim_wrapper.paramwise_cfg.custom_keys)
    assert keys.pop('norm') and keys == dict(plain.optim_wrapper.paramwise_cfg.custom_keys)
    assert guided.optim_wrapper.optimizer == plain.optim_wrapper.optimizer
    assert guided.model.decode_head == plain.model.decode_head
    shared = set(model_of(TINY[1]).state_dict())
    own = {key for key in model_of(TINY[0]).state_dict() if key not in shared}
    roots = ('contexts', 'gamma', 'text_encoder.', 'context_decoder.', 'backbone.ln_post')
    assert all(key.startswith((*roots, 'backbone.proj')) for key in own)
