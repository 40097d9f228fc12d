"""Configs of CLIP, SCLIP, ClearCLIP and NACLIP."""

from __future__ import annotations

import pytest
import torch
import yaml
from config_stand_ins import config_of, data_root, miou_of_files, names_in, run, with_tiny_clip
from miniatures import NAMES, prepared_miniature
from scripts import ROOT
from tiny_clip_models import VIT

from ovseg.affinity import last_block_spec
from ovseg.config_files import place_of_config
from ovseg.registry import MODELS
from ovseg.text.decision_rule import DecisionRule
from ovseg.vocabulary import build_vocabulary

# No class file of these methods has ADE-847 or Context-459.
SETS = tuple(name for name in NAMES if name not in ('ade847', 'context459'))
BACKBONES = {
    'clip': ('vit-b16_openai',),
    'sclip': ('vit-b16_openai',),
    'naclip': ('vit-b16_openai',),
    'clearclip': tuple(
        f'vit-{size}_{weights}'
        for size in ('b16', 'l14')
        for weights in ('openai', 'laion2b', 'metaclip')
    ),
}
STEMS = [f'{m}_{b}_{n}' for m, all_of in BACKBONES.items() for b in all_of for n in SETS]
ALL = [name for method in BACKBONES for name in names_in(method)]
TINY = ('scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases', 'images')


def test_there_is_a_config_for_each_backbone_and_data_set_and_no_other():
    wanted = set(STEMS)
    wanted |= {f'{m}_{b}_images' for m, all_of in BACKBONES.items() for b in all_of}
    wanted |= {f'{method}_tiny_{name}' for method in BACKBONES for name in TINY}
    assert wanted == set(ALL)


@pytest.mark.parametrize('stem', ALL)
def test_every_config_reads_and_says_its_method(stem):
    config = config_of(stem)
    method = stem.split('_')[0]
    assert config.default_scope == 'ovseg' and config.model.type == 'TrainingFreeSegmentor'
    preset = {'clip': 'vanilla'}.get(method, method)
    assert last_block_spec(config.model.encoder.last_block) == last_block_spec(preset)
    assert config.model.encoder.position_resize == 'scale_factor'
    assert (config.model.get('pixel_refiner') is not None) == (method == 'naclip')
    assert config.model.text.combine == 'max'
    if '_openai' in stem or '_metaclip' in stem:
        assert config.model.clip.model.endswith('-quickgelu')
    if stem.endswith('_images'):
        assert config.resize.keep_ratio and config.model.get('vocabulary') is None
    elif '_tiny_' not in stem:
        name = stem.split('_', 3)[3]
        assert config.model.vocabulary.dataset == name
        words = 'clearclip' if method in ('clip', 'clearclip') else 'sclip'
        assert config.model.vocabulary.protocol == words


# (short side, crop, stride, temperature, threshold, smallest area) as published.
PUBLISHED = {
    'sclip_vit-b16_openai_voc21': (336, 224, 112, 65, 0.1, 0.1),
    'sclip_vit-b16_openai_context60': (336, 224, 112, 50, 0.1, 0.0),
    'sclip_vit-b16_openai_coco_object': (336, 224, 112, 50, 0.1, 0.0),
    'sclip_vit-b16_openai_cityscapes': (560, 224, 112, 40, 0.0, 0.0),
    'sclip_vit-b16_openai_coco_stuff164k': (448, 224, 112, 40, 0.0, 0.0),
    'sclip_vit-b16_openai_ade20k': (336, 224, 112, 40, 0.0, 0.0),
    'naclip_vit-b16_openai_voc21': (336, None, None, 40, 0.1, 0.0),
    'naclip_vit-b16_openai_voc20': (336, None, None, 40, 0.0, 0.0),
    'naclip_vit-b16_openai_coco_object': (336, 224, 112, 40, 0.1, 0.0),
    'naclip_vit-b16_openai_cityscapes': (560, 224, 112, 40, 0.0, 0.0),
    'naclip_vit-b16_openai_coco_stuff164k': (336, 224, 112, 40, 0.0, 0.0),
    'clearclip_vit-b16_openai_voc21': (448, 448, 224, 50, 0.5, 0.0),
    'clearclip_vit-l14_openai_context60': (448, 448, 224, 50, 0.15, 0.0),
    'clearclip_vit-b16_metaclip_coco_object': (448, 448, 224, 50, 0.4, 0.0),
    'clearclip_vit-l14_laion2b_cityscapes': (448, 224, 224, 50, 0.0, 0.0),
    'clip_vit-b16_openai_voc21': (448, 448, 224, 50, 0.2, 0.0),
}


@pytest.mark.parametrize('stem', PUBLISHED)
def test_settings_are_those_of_the_release(stem):
    side, crop, stride, scale, threshold, area = PUBLISHED[stem]
    config = config_of(stem)
    assert tuple(config.test_dataloader.dataset.resize.scale) == (2048, side)
    settings = config.model.test_cfg
    if crop is None:
        assert settings.mode == 'whole'
    else:
        assert settings.mode == 'slide' and tuple(settings.crop_size) == (crop, crop)
        assert tuple(settings.stride) == (stride, stride)
    assert config.model.text.logit_scale == scale
    rejection = build_vocabulary(config.model.vocabulary).rejection
    assert (rejection.threshold, rejection.min_area) == (threshold, area)


@pytest.mark.parametrize('stem', STEMS)
def test_every_config_builds_and_labels_an_image(stem):
    model = config_of(stem).model
    model.clip = {'model': VIT, 'pretrained': 'random'}
    model.text.update(cache_dir=None, templates='single')
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    (sample,) = built.predict(torch.randn(1, 3, 36, 45))
    labels = sample.pred_sem_seg.data
    assert labels.shape == (1, 36, 45) and 0 <= labels.min() <= labels.max() < built.num_classes


@pytest.mark.parametrize(
    'stem',
    [
        'clip_vit-b16_openai_context60',
        'clearclip_vit-b16_openai_cityscapes',
        'naclip_vit-b16_openai_voc20',
        'sclip_vit-b16_openai_voc21',
        'sclip_vit-b16_openai_coco_object',
    ],
)
def test_a_test_run_says_what_decided_its_number(stem, tmp_path, monkeypatch):
    method, _, _, name = stem.split('_', 3)
    prepared_miniature(name, tmp_path / 'data')
    measured = []
    large = DecisionRule.large_classes

    def spied(self, labels):
        measured.append(labels.shape)
        return large(self, labels)

    monkeypatch.setattr(DecisionRule, 'large_classes', spied)
    config = with_tiny_clip(stem, tmp_path, data_root(name, tmp_path / 'data'))
    result = run(config, tmp_path)
    protocol = result['protocol']
    assert protocol['vocabulary'].startswith(f'{name}/')
    assert result['metrics']['mIoU'] == pytest.approx(miou_of_files(config, tmp_path / 'out'))
    assert ('PAMR' in protocol['model'].get('pixel_refiner', '')) == (method == 'naclip')
    has_area_rule = stem.endswith('voc21')
    assert bool(measured) == has_area_rule
    assert ('of the foreground' in protocol['background']) == has_area_rule
    assert (protocol['mode'], protocol['window'] is None) == (
        ('whole', True) if method == 'naclip' else ('slide', False)
    )
    assert float(protocol['model']['logit_scale']) == config_of(stem).model.text.logit_scale


def test_the_model_index_lists_every_config_by_its_name():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    listed = {}
    for part in index['Import']:
        for model in yaml.safe_load((ROOT / part).read_text(encoding='utf-8'))['Models']:
            listed[model['Name']] = model['Config']
    assert {place_of_config(stem).path.stem for stem in ALL} <= set(listed)
    assert all((ROOT / config).stem == name for name, config in listed.items())
