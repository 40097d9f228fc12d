"""Trident on the three tiny models that ship, on scenes they never saw."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.apis.building import build_model
from ovseg.registry import DATASETS

SCENES = 4


def predictions(name, **settings):
    """The labels (n, H, W) that a tiny model gives to a few val scenes, and the true ones."""
    config = Config.fromfile(ROOT / 'configs' / f'{name}_tiny_scenes.py')
    config.model.update(settings)
    model = build_model(config).eval()
    with DefaultScope.overwrite_default_scope('ovseg'):
        scenes = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': SCENES})
    predicted, labelled = [], []
    for sample in scenes:
        data = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        (result,) = model.predict(**model.data_preprocessor(data, False))
        predicted.append(result.pred_sem_seg.data[0])
        labelled.append(result.gt_sem_seg.data[0])
    return torch.stack(predicted), torch.stack(labelled)


@pytest.fixture(scope='module')
def trident():
    return predictions('trident/trident')


def object_share(predicted, labelled):
    """Share of the objects' pixels that got the right name."""
    is_object = labelled >= 7
    return (predicted == labelled)[is_object].float().mean().item()


@pytest.mark.slow
def test_sam_and_dino_find_more_of_the_objects_than_clip_alone(trident):
    alone = predictions('maskclip/maskclip')
    assert object_share(*trident) > object_share(*alone) + 0.1


@pytest.mark.slow
def test_the_refinement_gets_more_pixels_right(trident):
    coarse, labelled = predictions('trident/trident', refinement=None)
    refined, _ = trident
    assert (refined == labelled).float().mean() > (coarse == labelled).float().mean() + 0.01


@pytest.mark.slow
def test_half_precision_changes_few_labels(trident):
    with torch.autocast('cpu', torch.bfloat16):
        half, _ = predictions('trident/trident')
    assert 0 < (half != trident[0]).float().mean() < 0.03
