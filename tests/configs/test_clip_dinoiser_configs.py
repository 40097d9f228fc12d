from __future__ import annotations

import json

import pytest
import torch
import yaml
from config_stand_ins import names_in
from miniatures import NAMES, prepared_miniature
from mmengine.registry import DefaultScope
from scripts import ROOT, load_script
from tiny_clip_models import VIT

from ovseg.config_files import read_config
from ovseg.registry import MODELS

FOLDER = ROOT / 'configs' / 'clip_dinoiser'
STEM = 'clip_dinoiser_vit-b16_laion2b'
WITH_BACKGROUND = ('voc21', 'coco_object')
DINO = {
    'model': {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    'pretrained': 'random',
}


def test_there_is_one_config_for_each_data_set():
    assert {f'{STEM}_{name}' for name in (*NAMES, 'images')} <= set(names_in('clip_dinoiser'))


def test_the_metafile_lists_every_config():
    listed = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))['Models']
    assert [model['Name'] for model in listed] == sorted(path.stem for path in FOLDER.glob('*.py'))


@pytest.mark.parametrize('name', NAMES)
def test_the_learned_background_is_on_where_published(name):
    config = read_config(FOLDER / f'{STEM}_{name}.py')
    refiners = [refiner.type for refiner in config.model.refiners]
    assert refiners == ['ScoreSoftmax', 'LearnedBackground'][: 1 + (name in WITH_BACKGROUND)]
    settings = config.model.test_cfg
    assert (settings.mode, settings.crop_size, settings.stride) == ('slide', (448, 448), (224, 224))
    assert config.test_dataloader.dataset.resize == dict(scale=(2048, 448), keep_ratio=True)
    assert config.model.vocabulary.dataset == name


@pytest.mark.parametrize('name', NAMES)
def test_every_data_set_runs(name, tmp_path):
    prepared_miniature(name, tmp_path / 'data', large=False)
    root = read_config(ROOT / f'configs/_base_/datasets/{name}.py').data_root
    nested = tmp_path / 'data' / root.removeprefix('data/')
    data = nested if nested.exists() else tmp_path / 'data'
    torch.save({'model_state_dict': layers(32, 8)}, tmp_path / 'last.pt')
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = {str(FOLDER / f"{STEM}.py")!r}\n'
        f"model = dict(clip=dict(_delete_=True, model={VIT!r}, pretrained='random'),\n"
        '    encoder=dict(mlp_input_layer=-2), guide=dict(in_channels=32, channels=8),\n'
        '    test_cfg=dict(crop_size=(64, 64), stride=(48, 48)),\n'
        "    text=dict(cache_dir=None, templates='single'))\n"
        'resize = dict(scale=(256, 64))\n'
        'test_dataloader = dict(num_workers=0, dataset=dict(\n'
        f'    resize=resize, data_root={str(data)!r}))\n',
        encoding='utf-8',
    )
    words = [str(path), str(tmp_path / 'last.pt'), '--on', name]
    words += ['--work-dir', str(tmp_path / 'work')]
    assert load_script('test').main(words) == 0
    (result,) = (tmp_path / 'work').rglob('result.json')
    protocol = json.loads(result.read_text(encoding='utf-8'))['protocol']
    assert protocol['vocabulary'].startswith(f'{name}/')
    assert 'DINOiserGuide' in protocol['model']['guide']


def layers(width, channels):
    return {
        'obj_proj.weight': torch.randn(channels, width, 3, 3),
        'obj_proj.bias': torch.zeros(channels),
        'bkg_decoder.weight': torch.randn(1, width, 1, 1),
        'bkg_decoder.bias': torch.zeros(1),
    }


@pytest.mark.parametrize('name', ['voc20', 'voc21'])
def test_the_teacher_only_configs_build(name):
    config = read_config(FOLDER / f'dinoclip_vit-b16_laion2b_{name}.py').model
    assert config.guide.dino.model == 'dino_vitb16' and config.guide.quantity == 'keys'
    config.clip = dict(model=VIT, pretrained='random')
    config.guide.dino = DINO
    config.guide.found = dict(dino=DINO, decoder='random')
    config.vocabulary, config.text = None, dict(cache_dir=None)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config)
    assert model.guide.found is not None and 'keys' in str(model.guide)


def test_the_published_layers_have_the_shapes_of_the_release():
    config = read_config(FOLDER / f'{STEM}_voc20.py').model.guide
    config.weights = None
    with DefaultScope.overwrite_default_scope('ovseg'), torch.device('meta'):
        guide = MODELS.build(config)
    shapes = {name: tuple(value.shape) for name, value in guide.state_dict().items()}
    assert shapes == {
        'obj_proj.weight': (256, 768, 3, 3),
        'obj_proj.bias': (256,),
        'bkg_decoder.weight': (1, 768, 1, 1),
        'bkg_decoder.bias': (1,),
    }


def test_the_published_training_says_its_numbers():
    config = read_config(FOLDER / f'{STEM}_100e_imagenet1k-448.py')
    assert config.model.teacher.dino.model == 'dino_vitb16'
    assert config.model.teacher.found.dino.model == 'dino_vits8_300ep'
    assert config.model.teacher.quantity == 'values' and config.model.guide.weights is None
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 5e-5, 0.01)
    assert config.optim_wrapper.paramwise_cfg.custom_keys.bkg_decoder.lr_mult * 5e-5 == 1e-2
    assert config.param_scheduler[0].milestones == [5000] and config.train_cfg.max_epochs == 100
    assert config.train_dataloader.batch_size == 16
