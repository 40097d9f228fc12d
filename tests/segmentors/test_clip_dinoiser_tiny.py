"""The shipped two layers on scenes they never saw."""

from __future__ import annotations

import pytest
import torch
from scene_predictions import scene_accuracy

from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.weight_files import WEIGHTS

SCENES = 8


@pytest.mark.slow
def test_pooling_by_learned_correlations_is_better_than_none():
    assert scene_accuracy('clip_dinoiser/clip_dinoiser', SCENES) > (
        scene_accuracy('maskclip/maskclip', SCENES) + 0.02
    )


def test_the_weights_are_small_and_finite():
    path = WEIGHTS / 'clip_dinoiser_tiny_scenes.safetensors'
    assert path.stat().st_size < 200_000
    config = read_config('clip_dinoiser_tiny', on='images')
    guide = build_model(config).guide
    assert all(torch.isfinite(value).all() for value in guide.state_dict().values())
    assert guide.gamma == 0.7 and guide.obj_proj.kernel_size == (3, 3)
