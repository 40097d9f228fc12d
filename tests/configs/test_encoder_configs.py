"""Configs of encoders since 2023, which share one reading."""

from __future__ import annotations

import open_clip
import pytest
import yaml
from scripts import ROOT
from tiny_clip_models import VIT
from tiny_timm_towers import convolutional_tower

from ovseg import list_models
from ovseg.affinity import last_block_spec
from ovseg.config_files import read_config
from ovseg.encoders import load_clip
from ovseg.registry import MODELS

STEMS = sorted(path.stem for path in (ROOT / 'configs' / 'encoders').glob('*.py'))
SETS = ['voc20', 'context59', 'coco_stuff164k', 'cityscapes', 'ade20k', 'images']
# Without a last block.
CONVOLUTIONAL = 'maskclip_mobileclip2-s2_dfndr2b'


@pytest.mark.parametrize('stem', STEMS)
def test_every_config_names_weights_that_open_clip_knows(stem):
    config = read_config(stem)
    clip, encoder = config.model.clip, config.model.encoder
    assert config.on_choices == SETS and config.model.type == 'TrainingFreeSegmentor'
    known = open_clip.list_pretrained_tags_by_model(clip.model)
    assert clip.pretrained in (*known, 'random')
    # Pixels are the weights' own business.
    assert 'data_preprocessor' not in config.model
    assert ('last_block' in encoder) == (stem != CONVOLUTIONAL)


def test_on_every_data_set_it_asks_that_sets_words():
    for name in SETS:
        model = read_config('maskclip_vit-b16_siglip2', name).model
        words = None if name == 'images' else {'dataset': name, 'protocol': 'clearclip'}
        assert model.get('vocabulary') == words


def test_another_last_block_costs_a_name_alone():
    config = read_config('maskclip_vit-b16_dfn2b')
    config.merge_from_dict({'model.encoder.last_block': 'clearclip'})
    config.model.clip = {'model': VIT, 'pretrained': 'random', 'mean': [0.5] * 3, 'std': [0.5] * 3}
    config.model.text.update(cache_dir=None, templates='single')
    model = MODELS.build({**config.model, '_scope_': 'ovseg'})
    assert model.encoder.last_block == last_block_spec('clearclip')
    assert model.pixel_mean.flatten().tolist() == [0.5] * 3
    assert model.data_preprocessor.std.flatten().tolist() == [127.5] * 3


def test_a_convolutional_tower_segments(monkeypatch):
    import torch

    from ovseg.segmentors import training_free

    config = read_config(CONVOLUTIONAL)
    loaded = load_clip(VIT, 'random')
    loaded.model.visual = convolutional_tower('mobileclip-s')
    monkeypatch.setattr(training_free, 'build_vision_language', lambda *_: loaded)
    config.model.text.update(cache_dir=None, templates='single')
    model = MODELS.build({**config.model, '_scope_': 'ovseg'}).eval()
    (sample,) = model.predict(torch.randn(1, 3, 70, 99))
    assert sample.pred_sem_seg.data.shape == (1, 70, 99)


def test_the_zoo_and_the_model_index_have_all_of_them():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    assert 'configs/encoders/metafile.yaml' in index['Import']
    text = (ROOT / 'configs/encoders/metafile.yaml').read_text(encoding='utf-8')
    assert sorted(model['Name'] for model in yaml.safe_load(text)['Models']) == STEMS
    entries = {entry.config_path.stem for entry in list_models() if 'encoders/' in entry.config}
    assert sorted(entries) == STEMS
