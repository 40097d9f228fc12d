"""The benchmark of OVSeg's stages, with a tiny model."""

from __future__ import annotations

import json

import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from scripts import load_script

from ovseg.regions.mask_maps import mask_maps, mask_probabilities

stages = load_script('ovseg_stages', 'benchmarks')
QUESTIONS = ['3 classes, 50 x 61', '5 classes, 50 x 61', '3 classes, 90 x 70', '5 classes, 90 x 70']


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """What the command prints and writes."""
    folder = tmp_path_factory.mktemp('stages')
    Config({'model': tiny_ovseg.config(vocabulary=None)}).dump(folder / 'tiny.py')
    words = ['--image', '64', '91', '--original', '50', '61', '--original', '90', '70']
    words += ['--classes', '3', '5', '--text-classes', '2', '--repeat', '2']
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr('builtins.print', lambda text, **_: printed.append(text))
        stages.main([str(folder / 'tiny.py'), *words, '--json', str(folder / 'out.json')])
    return '\n'.join(printed), json.loads((folder / 'out.json').read_text())['models'][0]


def test_every_stage_of_every_question_is_timed(measured):
    printed, model = measured
    wanted = {*stages.ENCODERS, stages.REGIONS}
    wanted |= {f'{stage}, {q}' for q in QUESTIONS for stage in ('scores', 'labels')}
    assert set(model['seconds']) == wanted and set(model['label_megabytes']) == set(QUESTIONS)
    for runs in model['seconds'].values():
        assert len(runs) == 2 and min(runs) > 0
    assert model['text_seconds'] > 0
    assert model['regions'] == 6 and 'tiny, 6 regions' in printed
    assert all(stage in printed for stage in wanted)


def test_the_released_way_and_ours_agree(measured):
    crops, labels = measured[1]['released']
    assert crops[0] == '6 regions' and float(crops[-1]) < 1e-4
    assert labels[0] == 'labels, 5 classes, 50 x 61'
    assert float(labels[-1].removesuffix(' of labels')) < 1e-3


def test_the_share_is_that_of_backbone_head_and_tower():
    figures = stages.Figures('some')
    for stage in (*stages.ENCODERS, stages.REGIONS, 'scores, all', 'labels, all'):
        figures.note(stage, 3.0 if stage in stages.ENCODERS else 1.0)
    figures.note('labels, others', 100.0)
    assert figures.encoder_share('all') == pytest.approx(9 / 12)


def test_blobs_are_valid_masks_of_many_sizes_and_always_the_same():
    logits = stages.blob_logits(100, (160, 216))
    shown = mask_probabilities(mask_maps(logits, (640, 864), (640, 853))) > 0.5
    areas = shown.flatten(1).float().mean(1)
    assert areas.min() > 0 and areas.max() < 0.7
    assert areas.max() > 20 * areas.min() and 0.02 < areas.mean() < 0.3
    assert torch.equal(logits, stages.blob_logits(100, (160, 216)))


def test_fewer_masks_are_fewer_regions(tmp_path):
    Config({'model': tiny_ovseg.config(vocabulary=None)}).dump(tmp_path / 'tiny.py')
    args = stages.parse_args([str(tmp_path / 'tiny.py'), '--image', '64', '91', '--masks', '4'])
    subject = stages.Subject(args.config[0], args)
    assert subject.encode().features.valid.sum() == subject.figures.regions == 4
