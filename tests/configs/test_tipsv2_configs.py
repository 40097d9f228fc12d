"""Configs of TIPSv2, on tiny random towers."""

from __future__ import annotations

import pytest
import torch
import yaml
from config_stand_ins import names_in
from miniatures import NAMES
from scripts import ROOT
from tiny_companions import VIT as TINY_DINO
from tiny_companions import Checkerboard
from tiny_sams import TINY_SAM

from ovseg.config_files import read_config
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors import CorrCLIP, TrainingFreeSegmentor, Trident
from ovseg.zoo import find_model

FOLDER = ROOT / 'configs' / 'tipsv2'
SIZES = ('b14', 'l14', 'so400m14', 'g14')
READINGS = ('l14_pamr', 'l14_proxy', 'l14_regions', 'l14_trident')
TINY = {
    'width': 16,
    'layers': 4,
    'heads': 2,
    'hidden': 32,
    'text_hidden': 32,
    'text_layers': 1,
    'image_size': 56,
    'vocabulary': 60,
}


def test_there_is_a_config_for_each_size_and_reading_and_data_set():
    wanted = {f'tipsv2_{name}_{on}' for name in (*SIZES, *READINGS) for on in (*NAMES, 'images')}
    assert set(names_in('tipsv2')) == wanted


@pytest.mark.parametrize('size', SIZES)
def test_settings_are_those_of_the_notebook(size):
    config = read_config(f'tipsv2_{size}_ade20k')
    model = config.model
    assert model.clip.to_dict() == {'type': 'TIPSv2', 'model': f'tipsv2-{size}'}
    assert (model.encoder.last_block, model.text.logit_scale) == ('maskclip', 1)
    settings = model.test_cfg
    assert (settings.crop_size, settings.stride, settings.average) == (
        (448, 448),
        (336, 336),
        'probabilities',
    )
    resize = config.test_dataloader.dataset.resize
    assert resize.interpolation == 'bicubic' and resize.rounding == 'down'
    metafile = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))
    assert {row['Name'] for row in metafile['Models']} == {
        f'tipsv2_{name}' for name in (*SIZES, *READINGS)
    }
    published = {'b14': 17.4, 'l14': 25.06, 'so400m14': 23.3, 'g14': 17.8}
    assert find_model(f'tipsv2-{size}').published == {'ade20k': published[size]}


@pytest.mark.parametrize('name', ['b14', *READINGS])
def test_configs_build_and_label_an_image(name):
    model = read_config(f'tipsv2_{name}_voc21').model
    model.clip.update(model=TINY, pretrained='random')
    model.text.update(cache_dir=None, templates='single')
    model.test_cfg.update(crop_size=(56, 56), stride=(42, 42))
    if 'companion' in model.encoder:
        model.encoder.companion.update(model=TINY_DINO, pretrained='random')
    if model.type == 'CorrCLIP':
        model.encoder.spatial_blocks = 1
        model.regions = Checkerboard()
    if model.type == 'Trident':
        model.companion.update(model={**TINY_DINO, 'patch_size': 8}, pretrained='random')
        model.sam = {'model': TINY_SAM, 'pretrained': 'random'}
        model.refinement = None
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    kinds = {'l14_regions': CorrCLIP, 'l14_trident': Trident}
    assert type(built) is kinds.get(name, TrainingFreeSegmentor)
    with torch.inference_mode():
        encoding = built.encode(Images(torch.rand(1, 3, 60, 75)))[0]
        labels = built.segment(encoding, (60, 75)).labels
    assert labels.shape == (60, 75) and 0 <= labels.min() <= labels.max() < built.num_classes
