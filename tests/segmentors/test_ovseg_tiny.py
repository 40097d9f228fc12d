"""The tiny OVSeg that ships: masks of a MaskFormer that never saw six of the classes."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.apis.building import build_model
from ovseg.backbones.embedded import WEIGHTS
from ovseg.registry import DATASETS

SCENES = 12
CONFIG = ROOT / 'configs/ovseg/ovseg_tiny_scenes.py'


def unseen_accuracy(**settings):
    """Share of the pixels of unseen classes that get the right name, on a few val scenes."""
    config = Config.fromfile(CONFIG)
    config.model.update(settings)
    model = build_model(config).eval()
    with DefaultScope.overwrite_default_scope('ovseg'):
        scenes = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': SCENES})
    unseen = torch.tensor([scenes.metainfo['classes'].index(name) for name in config.unseen])
    right = total = 0
    for sample in scenes:
        data = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        (result,) = model.predict(**model.data_preprocessor(data, False))
        labels, predicted = result.gt_sem_seg.data[0], result.pred_sem_seg.data[0]
        chosen = torch.isin(labels, unseen)
        right += int((predicted == labels)[chosen].sum())
        total += int(chosen.sum())
    return right / total


@pytest.mark.slow
def test_the_adapted_clip_names_more_of_what_the_maskformer_never_saw():
    adapted = unseen_accuracy()
    plain = unseen_accuracy(adapted=None, mask_prompts=0)
    assert adapted > plain + 0.1


@pytest.mark.slow
def test_it_finds_words_on_the_demo_picture():
    result = OpenVocabSegmenter('ovseg-tiny', device='cpu')(
        ROOT / 'demo/scene.png', 'sky; grass; water; pink heart; green fish'
    )
    found = {area.name: area.share for area in result.areas()}
    assert found['sky'] > 0.25 and found['grass'] > 0.15 and found['pink heart'] > 0.03


def test_what_ships_is_small():
    names = ('ovseg_tiny_scenes', 'ovseg_clip_tiny_scenes')
    sizes = [(WEIGHTS / f'{name}.safetensors').stat().st_size for name in names]
    assert sum(sizes) <= 8e6
