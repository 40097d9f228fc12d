"""The tiny CLIP with the tiny DINO beside it, on scenes that neither saw."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.apis.building import build_model
from ovseg.registry import DATASETS

SCENES = 4


def accuracy(encoder=None):
    """Share of right pixels over a few val scenes, with another encoder in the same windows."""
    config = Config.fromfile(ROOT / 'configs/proxyclip/proxyclip_tiny_scenes.py')
    if encoder is not None:
        config.model.encoder = encoder
    model = build_model(config).eval()
    with DefaultScope.overwrite_default_scope('ovseg'):
        scenes = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': SCENES})
    right = 0.0
    for sample in scenes:
        data = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        (result,) = model.predict(**model.data_preprocessor(data))
        right += (result.pred_sem_seg.data == result.gt_sem_seg.data).float().mean().item()
    return right / SCENES


@pytest.mark.slow
def test_values_mixed_by_the_companion_are_better_than_values_alone():
    assert accuracy() > accuracy({'last_block': 'value'}) + 0.02
