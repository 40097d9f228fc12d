"""Configs of RADSeg, on tiny random towers."""

from __future__ import annotations

import pytest
import torch
import yaml
from config_stand_ins import names_in
from miniatures import NAMES
from scripts import ROOT

from ovseg.config_files import read_config
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors import RADSeg

FOLDER = ROOT / 'configs' / 'radseg'
CONFIGS = ('v3-b', 'v3-b_low', 'v3-b_high', 'v3-h')
TINY = {
    **{'img_size': 64, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    'reg_tokens': 3,
}
TEXT = {
    'embed_dim': 12,
    'text_cfg': {'context_length': 8, 'vocab_size': 49408, 'width': 8, 'heads': 2, 'layers': 1},
}


def test_there_is_a_config_for_each_model_and_data_set():
    wanted = {f'radseg_{name}_{on}' for name in CONFIGS for on in (*NAMES, 'images')}
    assert set(names_in('radseg')) == wanted
    metafile = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))
    assert {row['Name'] for row in metafile['Models']} == {f'radseg_{name}' for name in CONFIGS}


@pytest.mark.parametrize(
    ('name', 'scale', 'windows'),
    [
        ('v3-b_low_voc20', (2048, 336), (224, 112)),
        ('v3-b_voc20', (2048, 336), (336, 112)),
        ('v3-b_high_voc20', (2016, 672), (336, 224)),
        ('v3-h_context59', (4096, 576), (336, 224)),
        ('v3-b_high_cityscapes', (2688, 1344), (336, 224)),
        ('v3-b_high_coco_stuff164k', (1334, 896), (336, 224)),
    ],
)
def test_settings_are_the_published_ones(name, scale, windows):
    config = read_config(f'radseg_{name}')
    settings = config.model.test_cfg
    assert tuple(config.test_dataloader.dataset.resize.scale) == scale
    assert (settings.crop_size, settings.stride) == tuple((side, side) for side in windows)
    assert config.model.clip.model == f'c-radio_{name[:4]}'
    assert config.model.encoder.to_dict() == {'last_block': 'radseg'}


def test_a_config_builds_and_labels_an_image():
    model = read_config('radseg_v3-b_voc21').model
    text = {'model': TEXT, 'pretrained': 'random'}
    model.clip.update(model=TINY, pretrained='random', text=text)
    model.text.update(cache_dir=None, templates='single')
    model.test_cfg.update(crop_size=(32, 32), stride=(16, 16))
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    assert type(built) is RADSeg
    with torch.inference_mode():
        encoding = built.encode(Images(torch.rand(1, 3, 60, 75)))[0]
        labels = built.segment(encoding, (60, 75)).labels
    assert labels.shape == (60, 75) and 0 <= labels.min() <= labels.max() < built.num_classes
