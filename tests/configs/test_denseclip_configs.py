"""Configs of DenseCLIP and its baselines: settings of the release, and that they fit together."""

from __future__ import annotations

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script

from ovseg.apis.preprocess import ResizeRule
from ovseg.registry import MODELS

FOLDER = ROOT / 'configs' / 'denseclip'
CONFIGS = sorted(FOLDER.glob('*.py'))
ADE20K = [path for path in CONFIGS if path.stem.endswith('_80k_ade20k')]
# Backbone -> (text dimension, level of the score map, crop, stride of the windows).
PUBLISHED = {
    'r50': (1024, 3, 512, 341),
    'r101': (512, 3, 512, 341),
    'vit-b': (512, 2, 640, 426),
}
RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def build(config):
    with DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build(config.model)


def test_the_metafile_lists_every_config():
    listed = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))['Models']
    assert [model['Name'] for model in listed] == [path.stem for path in CONFIGS]
    assert all((ROOT / model['Config']).stem == model['Name'] for model in listed)


@pytest.mark.parametrize('path', ADE20K, ids=lambda path: path.stem)
def test_the_ade20k_configs_say_the_published_recipe(path):
    config = Config.fromfile(path)
    backbone = path.stem.split('_')[2]
    _, _, crop, stride = PUBLISHED.get(backbone, PUBLISHED['r50'])
    model = config.model
    assert (model.test_cfg.crop_size, model.test_cfg.stride) == ((crop,) * 2, (stride,) * 2)
    assert model.data_preprocessor['size'] == (crop, crop)
    train = config.train_dataloader
    assert train.batch_size == 4 and config.auto_scale_lr.base_batch_size == 32
    steps = {step.type: step for step in train.dataset.pipeline}
    assert steps['RandomCrop'].crop_size == (crop, crop)
    assert steps['RandomResize'].scale == (2048, crop)
    for part in ('val_dataloader', 'test_dataloader'):
        assert config[part].dataset.resize == dict(scale=(2048, crop), keep_ratio=True)
    assert ResizeRule.from_config(config).scale == (2048, crop)
    assert config.train_cfg.max_iters == config.param_scheduler[1].end == 80000
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 1e-4)
    keys = config.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.backbone.lr_mult == 0.1 and keys.norm.decay_mult == 0
    assert ('text_encoder' in keys) == (model.type == 'DenseCLIP')
    if model.type == 'DenseCLIP':
        assert keys.text_encoder.lr_mult == 0 and model.freeze_text_encoder is False
        assert model.identity_head.loss_decode.loss_weight == 0.4


@pytest.mark.parametrize('path', ADE20K, ids=lambda path: path.stem)
def test_tta_runs_at_the_sizes_of_the_release(path):
    config = Config.fromfile(path)
    assert config.tta_ratios == RATIOS
    short = config.test_dataloader.dataset.resize.scale[1]
    facts = load_script('test').set_tta(config)
    assert 'sizes 0.5, 0.75, 1.0, 1.25, 1.5, 1.75 and mirror' in facts['augmentation']
    sizes = [step.scale for step in config.test_dataloader.dataset.pipeline[1].transforms[0]]
    assert sizes == [(round(2048 * ratio), round(short * ratio)) for ratio in RATIOS]


@pytest.mark.parametrize('backbone', PUBLISHED)
def test_the_released_models_have_the_released_shapes(backbone):
    text_dim, level, crop, _ = PUBLISHED[backbone]
    config = Config.fromfile(FOLDER / f'denseclip_fpn_{backbone}_{crop}x{crop}_80k_ade20k.py')
    with torch.device('meta'):
        model = build(config)
    assert model.score_concat_index == level
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert len(shapes) == {'r50': 624, 'r101': 930, 'vit-b': 456}[backbone]
    assert shapes['contexts'] == (1, 8, 512) and shapes['gamma'] == (text_dim,)
    assert shapes['text_encoder.positional_embedding'] == (13, 512)
    assert shapes['text_encoder.text_projection'] == (512, text_dim)
    width = {3: 2048, 2: 768}[level] + 150
    assert shapes[f'neck.lateral_convs.{level}.conv.weight'] == (256, width, 1, 1)
    grid = {3: 16, 2: 40}[level]
    position = 'backbone.attnpool.positional_embedding' if level == 3 else None
    table = shapes[position or 'backbone.positional_embedding']
    assert table == (grid**2 + 1, 2048 if level == 3 else 768)


@pytest.mark.parametrize(
    'path',
    [path for path in CONFIGS if 'load_from' not in path.read_text(encoding='utf-8')],
    ids=lambda path: path.stem,
)
def test_every_config_builds_and_scores_its_classes(path):
    model = build(Config.fromfile(path)).eval()
    with torch.no_grad():
        scores = model._forward(torch.zeros(1, 3, 64, 96))
    assert scores.shape == (1, len(model.trained_vocabulary), 16, 24)
