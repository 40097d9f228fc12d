"""The shipped two layers on scenes they never saw."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.apis.building import build_model
from ovseg.backbones.embedded import WEIGHTS
from ovseg.registry import DATASETS

SCENES = 8


def accuracy(name):
    """Share of right pixels over a few val scenes."""
    config = Config.fromfile(ROOT / 'configs' / f'{name}_tiny_scenes.py')
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
def test_pooling_by_learned_correlations_is_better_than_none():
    assert accuracy('clip_dinoiser/clip_dinoiser') > accuracy('maskclip/maskclip') + 0.02


def test_the_weights_are_small_and_finite():
    path = WEIGHTS / 'clip_dinoiser_tiny_scenes.safetensors'
    assert path.stat().st_size < 200_000
    config = Config.fromfile(ROOT / 'configs/clip_dinoiser/clip_dinoiser_tiny_images.py')
    guide = build_model(config).guide
    assert all(torch.isfinite(value).all() for value in guide.state_dict().values())
    assert guide.gamma == 0.7 and guide.obj_proj.kernel_size == (3, 3)
