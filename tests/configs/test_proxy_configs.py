"""Configs of ProxyCLIP and CorrCLIP."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from config_stand_ins import config_of, data_root, miou_of_files, names_in, run
from miniatures import NAMES, prepared_miniature
from tiny_clip_models import VIT
from tiny_companions import VIT as TINY_DINO
from tiny_companions import Checkerboard
from tiny_sam2s import TINY_SAM2

from ovseg.config_files import place_of_config
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.vocabulary import build_vocabulary

# Version 1 of CorrCLIP has no class file for these.
EIGHT = tuple(name for name in NAMES if name not in ('ade847', 'context459'))
PROXY = ('vit-b16_openai', 'vit-l14_openai', 'vit-h14_laion2b')
CORR = ('vit-b16_metaclip', 'vit-l14_metaclip', 'vit-h14_laion2b')
STEMS = [f'proxyclip_{b}_{n}' for b in PROXY for n in NAMES]
STEMS += [f'corrclip_{b}{maps}_{n}' for b in CORR for maps in ('', '_sam') for n in EIGHT]
# Regions by SAM 2: those of the published rows, and of any images.
SAM2 = [f'corrclip_{b}_sam2_{n}' for b in CORR[:2] for n in EIGHT]
SAM2_IMAGES = [f'corrclip_{b}_sam2_images' for b in CORR[:2]]
STEMS += [f'corrclip_v2_{b}_{n}' for b in CORR[:2] for n in NAMES]
IMAGES = [f'proxyclip_{b}_images' for b in PROXY]
IMAGES += [f'corrclip_{b}_images' for b in CORR] + [f'corrclip_v2_{b}_images' for b in CORR[:2]]
WORLDS = ('scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases', 'images')
TINY = [f'proxyclip_{model}_{name}' for model in ('tiny', 'tiny_siglip') for name in WORLDS]
SAM = [f'corrclip_{b}_sam_images' for b in CORR]
# What they add to those of version 2 is tested once.
BANK = [f'corrclip_v2_{b}_bank_{n}' for b in CORR[:2] for n in (*NAMES, 'images')]


def data_set_of(stem):
    return next(name for name in NAMES if stem.endswith(f'_{name}'))


def test_there_is_a_config_for_each_backbone_and_data_set_and_no_other():
    found = {*names_in('proxyclip'), *names_in('corrclip')}
    assert found == {*STEMS, *IMAGES, *TINY, *SAM, *BANK, *SAM2, *SAM2_IMAGES}


@pytest.mark.parametrize('stem', [*STEMS, *IMAGES, *SAM2, *SAM2_IMAGES])
def test_every_config_names_its_parts(stem):
    model = config_of(stem).model
    is_proxy, second = stem.startswith('proxyclip'), stem.startswith('corrclip_v2')
    assert model.type == ('TrainingFreeSegmentor' if is_proxy else 'CorrCLIP')
    assert model.encoder.type == ('ProxyCLIPEncoder' if is_proxy else 'CorrCLIPEncoder')
    assert model.encoder.padding == 'centred' and model.encoder.padding_multiple == 56
    assert model.encoder.position_resize == 'scale_factor'
    assert model.text.combine == 'max' and model.text.logit_scale == 40
    assert model.clip.model.endswith('-quickgelu') == ('_laion2b' not in stem)
    companion = model.encoder.companion
    if second:
        assert (companion.type, companion.model) == ('RADIOCompanion', 'c-radio_v3-l')
        assert model.encoder.merge_distance is None
        assert model.encoder.companion_sees == 'image'
    else:
        assert (companion.type, companion.model) == ('DINOCompanion', 'dino_vitb8')
    if not (is_proxy or second):
        assert companion.quantity == 'queries+keys' and model.encoder.merge_distance == 0.2
    if not is_proxy:
        from_sam = '_sam_' in stem or '_sam2_' in stem or stem.endswith('_images')
        assert model.regions.type == ('SAMRegions' if from_sam else 'RegionFolder')
    if '_sam2_' in stem:
        rule = {'dynamic_multimask_via_stability': False}
        assert model.regions.sam == {'model': 'sam2_hiera_large', **rule}
        assert model.regions.generator == {
            'points_per_side': 32,
            'pred_iou_thresh': 0.4,
            'stability_score_thresh': 0.4,
            'multimask_output': False,
        }
    if stem.endswith('_images'):
        assert config_of(stem).resize.keep_ratio and model.get('vocabulary') is None
    else:
        words = 'proxyclip' if is_proxy else 'corrclip_v2' if second else 'corrclip_v1'
        assert (model.vocabulary.dataset, model.vocabulary.protocol) == (data_set_of(stem), words)
        assert config_of(stem).test_dataloader.dataset.get('keep_original', False) != is_proxy


# data set -> (crop, threshold); the short sides of ProxyCLIP, CorrCLIP and its version 2.
CROPS = {'cityscapes': 224}
THRESHOLDS = {'voc21': 0.2, 'context60': 0.15, 'coco_object': 0.25}
SIDES = {
    'proxyclip': {'ade20k': 448, 'ade847': 448, 'context459': 448, 'cityscapes': 448},
    'corrclip': {'ade20k': 448, 'cityscapes': 448},
    'corrclip_v2': {'ade20k': 448, 'ade847': 448, 'cityscapes': 784},
}


@pytest.mark.parametrize('stem', [*STEMS, *SAM2])
def test_settings_are_those_of_the_release(stem):
    config, name = config_of(stem), data_set_of(stem)
    crop = CROPS.get(name, 336)
    settings = config.model.test_cfg
    assert settings.mode == 'slide' and tuple(settings.crop_size) == (crop, crop)
    assert tuple(settings.stride) == (112, 112)
    method = 'corrclip_v2' if stem.startswith('corrclip_v2') else stem.split('_')[0]
    scale = (2048, SIDES[method].get(name, 336))
    assert tuple(config.test_dataloader.dataset.resize.scale) == scale
    assert build_vocabulary(config.model.vocabulary).rejection.threshold == THRESHOLDS.get(name, 0)


def shrunk(model):
    """The model's config with tiny random networks, and regions without SAM or files."""
    model.clip = {'model': VIT, 'pretrained': 'random'}
    model.text.update(cache_dir=None, templates='single')
    model.encoder.companion.update(model=TINY_DINO, pretrained='random')
    if model.type == 'CorrCLIP':
        model.encoder.spatial_blocks = 1
        model.regions = Checkerboard()
    return model


# Those of another CLIP differ in `model.clip` only, which a tiny one replaces here.
@pytest.mark.parametrize('stem', [stem for stem in STEMS if '_vit-b16_' in stem])
def test_configs_build_and_label_an_image(stem):
    model = shrunk(config_of(stem).model)
    model.test_cfg.update(crop_size=(40, 40), stride=(24, 24))
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    with torch.inference_mode():
        encoding = built.encode(Images(torch.randn(1, 3, 36, 45)))[0]
        labels = built.segment(encoding, (36, 45)).labels
    assert labels.shape == (36, 45) and 0 <= labels.min() <= labels.max() < built.num_classes


@pytest.mark.parametrize(('backbone', 'letter'), [('vit-b16', 'b'), ('vit-l14', 'l')])
def test_configs_with_a_bank_are_those_without_and_the_files_of_the_release(backbone, letter):
    config = config_of(f'corrclip_v2_{backbone}_metaclip_bank_voc21')
    without = config_of(f'corrclip_v2_{backbone}_metaclip_voc21')
    bank, auxiliary = config.model.pop('bank'), config.model.pop('auxiliary_clip')
    assert config.to_dict() == without.to_dict()
    assert [Path(bank[name]).name for name in ('keys', 'embeddings', 'auxiliary')] == [
        'coco_radiov3.faiss',
        f'coco_metaclip_{letter}.pt',
        'coco_dfnclip_b.pt',
    ]
    assert auxiliary.to_dict() == {'model': 'ViT-B-16-quickgelu', 'pretrained': 'dfn2b'}
    model = shrunk(config.model)
    model.test_cfg.update(crop_size=(40, 40), stride=(24, 24))
    model.bank = {
        name: torch.randn(25, size) for name, size in zip(bank, (16, 24, 24), strict=True)
    }
    model.auxiliary_clip = {'model': VIT, 'pretrained': 'random'}
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    with torch.inference_mode():
        encoding = built.encode(Images(torch.randn(1, 3, 36, 45)))[0]
        labels = built.segment(encoding, (36, 45)).labels
    assert labels.shape == (36, 45) and encoding.support.auxiliary.shape[1] == 24


def test_a_config_with_regions_by_sam_2_labels_an_image():
    pytest.importorskip('transformers', reason='SAM 2 needs the extra `transformers`')
    model = config_of('corrclip_vit-b16_metaclip_sam2_voc20').model
    regions = copy.deepcopy(model.regions)
    shrunk(model).regions = regions
    regions.sam.update(model=TINY_SAM2, pretrained='random')
    regions.generator.update(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    model.test_cfg.update(crop_size=(40, 40), stride=(40, 40))
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    decoder = built.region_source.sam.sam.mask_decoder
    assert decoder.dynamic_multimask_via_stability is False
    original = np.random.default_rng(0).integers(0, 256, (36, 45, 3), dtype=np.uint8)
    with torch.inference_mode():
        encoding = built.encode(Images(torch.randn(1, 3, 36, 45), [original]))[0]
        labels = built.segment(encoding, (36, 45)).labels
    assert labels.shape == (36, 45) and encoding.regions.unique().numel() > 1
    assert 'multimask_output=False' in built.protocol()['regions']


def written_config(stem: str, folder: Path, data: Path, settings: str) -> Path:
    place = place_of_config(stem)
    path = folder / f'{place.path.stem}_tiny.py'
    path.write_text(
        f'_base_ = {str(place.path.resolve())!r}\n'
        f'model = dict(clip=dict(_delete_=True, model={VIT!r}, pretrained="random"),\n'
        '             text=dict(cache_dir=None, templates="single"),\n'
        '             test_cfg=dict(crop_size=(56, 56), stride=(56, 56)),\n'
        f'             {settings})\n'
        'resize = dict(scale=(128, 56), keep_ratio=True)\n'
        'test_dataloader = dict(num_workers=0, dataset=dict(\n'
        f'    data_root={str(data)!r}, resize=resize))\n',
        encoding='utf-8',
    )
    return path.with_name(f'{path.stem}_{place.on}.py')


_COMPANION = f'companion=dict(model={ {**TINY_DINO, "_delete_": True}!r}, pretrained="random")'


def test_a_test_run_of_proxyclip_says_what_decided_its_number(tmp_path):
    prepared_miniature('cityscapes', tmp_path / 'data')
    stem = 'proxyclip_vit-b16_openai_cityscapes'
    data = data_root('cityscapes', tmp_path / 'data')
    config = written_config(stem, tmp_path, data, f'encoder=dict({_COMPANION})')
    result = run(config, tmp_path)
    protocol = result['protocol']
    assert protocol['vocabulary'] == 'cityscapes/proxyclip'
    assert 'DINOCompanion' in protocol['model']['last_block']
    assert 'beta=1.2, gamma=3.0' in protocol['model']['last_block']
    assert result['metrics']['mIoU'] == pytest.approx(miou_of_files(config, tmp_path / 'out'))


def test_a_test_run_of_corrclip_reads_region_maps_by_the_names_of_the_images(tmp_path):
    prepared_miniature('voc21', tmp_path / 'data')
    data = data_root('voc21', tmp_path / 'data')
    (tmp_path / 'maps').mkdir()
    for path in (data / 'JPEGImages').glob('*.jpg'):
        regions = Checkerboard(4).regions(cv2.imread(str(path)))
        np.savez(tmp_path / 'maps' / f'{path.stem}.npz', instance_mask=regions)
    settings = (
        f'encoder=dict(spatial_blocks=1, {_COMPANION}),'
        f' regions=dict(folder={str(tmp_path / "maps")!r})'
    )
    stem = 'corrclip_vit-b16_metaclip_voc21'
    config = written_config(stem, tmp_path, data, settings)
    result = run(config, tmp_path)
    assert result['protocol']['model']['regions'].startswith('RegionFolder')
    assert result['metrics']['mIoU'] == pytest.approx(miou_of_files(config, tmp_path / 'out'))
