"""Configs of DenseCLIP: all of them are listed, build and run; sizes of test-time augmentation."""

from __future__ import annotations

import pytest
import torch
import yaml
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.cli.test import set_tta
from ovseg.config_files import read_config
from ovseg.registry import MODELS

FOLDER = ROOT / 'configs' / 'denseclip'
CONFIGS = sorted(FOLDER.glob('*.py'))
SEGMENTORS = [path for path in CONFIGS if not path.stem.startswith(('mask_rcnn_', 'retinanet_'))]
ADE20K = [path for path in CONFIGS if path.stem.endswith('_80k_ade20k')]
RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def build(config):
    with DefaultScope.overwrite_default_scope('ovseg'):
        return MODELS.build(config.model)


def test_the_metafile_lists_every_config():
    listed = yaml.safe_load((FOLDER / 'metafile.yaml').read_text(encoding='utf-8'))['Models']
    assert [model['Name'] for model in listed] == [path.stem for path in CONFIGS]
    assert all((ROOT / model['Config']).stem == model['Name'] for model in listed)


@pytest.mark.parametrize('path', ADE20K, ids=lambda path: path.stem)
def test_tta_runs_at_the_sizes_of_the_release(path):
    config = read_config(path)
    assert config.tta_ratios == RATIOS
    short = config.test_dataloader.dataset.resize.scale[1]
    facts = set_tta(config)
    assert 'sizes 0.5, 0.75, 1.0, 1.25, 1.5, 1.75 and mirror' in facts['augmentation']
    sizes = [step.scale for step in config.test_dataloader.dataset.pipeline[1].transforms[0]]
    assert sizes == [(round(2048 * ratio), round(short * ratio)) for ratio in RATIOS]


@pytest.mark.parametrize(
    'path',
    [path for path in SEGMENTORS if 'load_from' not in path.read_text(encoding='utf-8')],
    ids=lambda path: path.stem,
)
def test_every_config_builds_and_scores_its_classes(path, monkeypatch):
    # Shapes alone are looked at: weights of the published size stay as memory comes, untouched, or
    # they take seconds and half a gigabyte a model.
    for draw in ('normal_', 'trunc_normal_', 'uniform_', 'kaiming_normal_', 'kaiming_uniform_'):
        monkeypatch.setattr(torch.nn.init, draw, lambda values, *_, **__: values)
    model = build(read_config(path)).eval()
    with torch.no_grad():
        scores = model._forward(torch.zeros(1, 3, 64, 96))
    assert scores.shape == (1, len(model.trained_vocabulary), 16, 24)
