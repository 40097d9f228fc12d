from __future__ import annotations

import pytest
import yaml
from config_stand_ins import data_root, miou_of_files, names_in, run, with_tiny_clip
from miniatures import NAMES, prepared_miniature
from scripts import ROOT

from ovseg.config_files import place_of_config, read_config

CONFIGS = names_in('maskclip')
BACKBONES = (
    'vit-b16_laion2b',
    *(f'{name}_openai' for name in ('vit-b32', 'vit-b16', 'vit-l14')),
    *(f'{name}_openai' for name in ('rn50', 'rn101', 'rn50x4', 'rn50x16')),
)


def test_there_is_one_config_for_each_backbone_and_data_set():
    wanted = {f'maskclip_{b}_{name}' for b in BACKBONES for name in (*NAMES, 'images')}
    tiny = ('scenes', 'scenes_heldout', 'scenes_heldout_plain', 'scenes_phrases', 'images')
    models = ('tiny', 'tiny_siglip')
    assert set(CONFIGS) == wanted | {f'maskclip_{m}_{name}' for m in models for name in tiny}


@pytest.mark.parametrize('stem', CONFIGS)
def test_every_config_reads_and_says_its_protocol(stem):
    config = read_config(stem)
    assert config.default_scope == 'ovseg' and config.model.type == 'TrainingFreeSegmentor'
    assert config.model.clip.pretrained not in (None, 'random')
    if stem.endswith('_images'):
        assert config.resize.keep_ratio
    elif not stem.startswith('maskclip_tiny'):
        name = stem.split('_', 3)[3]
        assert config.model.vocabulary.dataset == name
        assert config.test_dataloader.dataset.resize.keep_ratio


@pytest.mark.parametrize('name', NAMES)
def test_the_released_flavour_runs_on_every_data_set(name, tmp_path):
    prepared_miniature(name, tmp_path / 'data', large=False)
    stem = f'maskclip_vit-b16_openai_{name}'
    config = with_tiny_clip(stem, tmp_path, data_root(name, tmp_path / 'data'))
    result = run(config, tmp_path)
    assert result['protocol']['templates'] == 'single'
    assert result['protocol']['vocabulary'].startswith(f'{name}/')
    assert result['metrics']['mIoU'] == pytest.approx(miou_of_files(config, tmp_path / 'out'))


@pytest.mark.parametrize('backbone', ['vit-b16_laion2b', 'rn50_openai'])
def test_the_other_flavours_run(backbone, tmp_path):
    prepared_miniature('voc20', tmp_path / 'data')
    config = with_tiny_clip(f'maskclip_{backbone}_voc20', tmp_path, tmp_path / 'data')
    result = run(config, tmp_path)
    assert result['protocol']['vocabulary'].startswith('voc20/')


def test_the_model_index_lists_every_config_by_its_name():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    listed = {}
    for part in index['Import']:
        for model in yaml.safe_load((ROOT / part).read_text(encoding='utf-8'))['Models']:
            listed[model['Name']] = model['Config']
    for name, config in listed.items():
        assert (ROOT / config).is_file() and (ROOT / config).stem == name
    assert {place_of_config(stem).path.stem for stem in CONFIGS} <= set(listed)
