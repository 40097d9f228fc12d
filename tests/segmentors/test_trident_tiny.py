"""Trident on the three tiny models that ship, on scenes they never saw."""

from __future__ import annotations

import pytest
import torch
from scene_predictions import scene_predictions

from ovseg.config_files import read_config

SCENES = 4
# As shipped, but with a sixteenth of the windows, which takes a tenth of the time and says the
# same; tests/demo/test_shipped_scene.py runs all of them.
WINDOWS = {**read_config('trident/trident_tiny_scenes.py').model.test_cfg, 'stride': (16, 16)}


def predictions(scenes, **settings):
    return scene_predictions('trident/trident', scenes, test_cfg=WINDOWS, **settings)


@pytest.fixture(scope='module')
def trident():
    return predictions(SCENES)


def object_share(predicted, labelled):
    """Share of the objects' pixels that got the right name."""
    is_object = labelled >= 7
    return (predicted == labelled)[is_object].float().mean().item()


def test_sam_and_dino_find_more_of_the_objects_than_clip_alone(trident):
    alone = scene_predictions('maskclip/maskclip', SCENES)
    assert object_share(*trident) > object_share(*alone) + 0.1


def test_the_refinement_gets_more_pixels_right(trident):
    coarse, labelled = predictions(SCENES, refinement=None)
    refined, _ = trident
    assert (refined == labelled).float().mean() > (coarse == labelled).float().mean() + 0.01


def test_half_precision_changes_few_labels(trident):
    with torch.autocast('cpu', torch.bfloat16):
        half, _ = predictions(1)
    assert 0 < (half != trident[0][:1]).float().mean() < 0.03
