"""Configs of ResCLIP's residual attention."""

from __future__ import annotations

import pytest
import torch
from tiny_clip_models import VIT

from ovseg.affinity import LAST_BLOCKS, last_block_spec
from ovseg.config_files import read_config
from ovseg.registry import MODELS
from ovseg.vocabulary import build_vocabulary

# (short side, mode, probability below which a pixel is background, share) as released.
PUBLISHED = {
    'voc20': (336, 'whole', 0.0, 0.6),
    'voc21': (336, 'whole', 0.1, 0.3),
    'context59': (336, 'slide', 0.0, 0.4),
    'context60': (336, 'slide', 0.1, 0.3),
    'coco_object': (336, 'slide', 0.1, 0.4),
    'coco_stuff164k': (336, 'slide', 0.0, 0.4),
    'cityscapes': (560, 'slide', 0.0, 0.2),
    'ade20k': (336, 'slide', 0.0, 0.3),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_settings_are_those_of_the_release(name):
    config = read_config('resclip_vit-b16_openai', name)
    side, mode, threshold, share = PUBLISHED[name]
    assert tuple(config.test_dataloader.dataset.resize.scale) == (2048, side)
    assert config.model.test_cfg.mode == mode
    assert build_vocabulary(config.model.vocabulary).rejection.threshold == threshold
    spec = last_block_spec(config.model.encoder.last_block)
    assert (spec.attention, spec.neighbour_std) == ('kk+earlier', 5.0)
    assert spec.earlier_blocks == LAST_BLOCKS['resclip'].earlier_blocks == (6, 7, 8, 9)
    assert spec.settings == {'share': share}
    assert config.model.get('pixel_refiner') is None


def test_another_share_gives_other_labels():
    labels = []
    for share in (0.0, 1.0):
        model = read_config('resclip_vit-b16_openai', 'voc21').model
        model.encoder.last_block.settings.share = share
        model.clip = {
            'model': {**VIT, 'vision_cfg': {**VIT['vision_cfg'], 'layers': 10}},
            'pretrained': 'random',
        }
        model.text.update(cache_dir=None, templates='single')
        torch.manual_seed(0)
        built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
        (sample,) = built.predict(torch.randn(1, 3, 36, 45))
        labels.append(sample.pred_sem_seg.data)
    assert labels[0].shape == (1, 36, 45)
    assert not torch.equal(*labels)


@pytest.mark.parametrize('name', ['scenes', 'images'])
def test_the_tiny_model_reads_its_middle_block(name):
    config = read_config('resclip_tiny', name)
    built = MODELS.build({**config.model, '_scope_': 'ovseg'})
    assert tuple(built.encoder.last_block.earlier_blocks) == (2,)


def test_any_images_take_the_functions_own_share():
    spec = last_block_spec(read_config('resclip_vit-b16_openai', 'images').model.encoder.last_block)
    assert spec.settings == {'share': 0.4}
