"""Configs of dino.txt, on tiny random towers."""

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
from ovseg.zoo import find_model

FOLDER = ROOT / 'configs' / 'dinotxt'
CONFIGS = ('v2-l14', 'v3-l16', 'v3-l16_backbone')
TINY = {
    'backbone': {
        **{'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 1, 'num_heads': 2},
        'reg_tokens': 2,
    },
    **{'text_width': 8, 'text_layers': 1, 'text_heads': 1, 'context_length': 16},
}


def test_there_is_a_config_for_each_model_and_data_set():
    wanted = {f'dinotxt_{name}_{on}' for name in CONFIGS for on in (*NAMES, 'images')}
    assert set(names_in('dinotxt')) == wanted
    metafile = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))
    assert {row['Name'] for row in metafile['Models']} == {f'dinotxt_{name}' for name in CONFIGS}
    assert find_model('dinotxt-v3-l16').published == {'ade20k': 24.7, 'cityscapes': 36.9}
    assert find_model('dinotxt-v2-l14').published == {}


@pytest.mark.parametrize('name', ['v2-l14_ade20k', 'v3-l16_backbone_voc20'])
def test_settings_are_those_of_the_notebook(name):
    config = read_config(f'dinotxt_{name}')
    model, resize = config.model, config.test_dataloader.dataset.resize
    assert (tuple(resize.scale), resize.interpolation) == ((99999, 512), 'bicubic')
    assert (model.test_cfg.crop_size, model.test_cfg.stride) == ((384, 384), (192, 192))
    assert (model.test_cfg.average, model.text.logit_scale) == ('probabilities', 1)
    assert model.clip.reading == ('backbone' if 'backbone' in name else 'head')
    assert ('dinov3' in model.clip.model) == ('v3' in name)


def test_a_config_builds_and_labels_an_image():
    model = read_config('dinotxt_v2-l14_voc20').model
    model.clip.update(model=TINY, pretrained='random')
    model.text.update(cache_dir=None, templates='single')
    model.test_cfg.update(crop_size=(32, 32), stride=(16, 16))
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    with torch.inference_mode():
        encoding = built.encode(Images(torch.rand(1, 3, 40, 51)))[0]
        labels = built.segment(encoding, (40, 51)).labels
    assert labels.shape == (40, 51) and 0 <= labels.min() <= labels.max() < built.num_classes
