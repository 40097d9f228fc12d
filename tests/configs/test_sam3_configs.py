"""Configs of SAM 3, with tiny random weights in them."""

from __future__ import annotations

import pytest
import torch
import yaml
from config_stand_ins import names_in
from scripts import ROOT
from tiny_sam3s import TINY_SAM3

from ovseg.config_files import read_config
from ovseg.images import Images
from ovseg.registry import MODELS

RULES = ('segearth', 'activesam', 'conceptbank', 'semantic', 'coco', 'preselected')
SETS = (
    *('voc21', 'context60', 'coco_object', 'voc20', 'context59', 'coco_stuff164k'),
    *('cityscapes', 'ade20k', 'images'),
)


def test_there_is_a_config_for_each_rule_and_data_set():
    published = {name for name in names_in('sam3') if not name.startswith('sam3_tiny_')}
    assert published == {f'sam3_{rule}_{on}' for rule in RULES for on in SETS}
    metafile = yaml.safe_load((ROOT / 'configs/sam3/metafile.yaml').read_text(encoding='utf-8'))
    rules = {row['Name'] for row in metafile['Models']} - {'sam3_tiny'}
    assert rules == {f'sam3_{rule}' for rule in RULES}


@pytest.mark.parametrize(
    ('name', 'confidence', 'threshold', 'words'),
    [
        ('segearth_voc21', 0.5, 0.4, 21),
        ('segearth_context60', 0.3, 0.1, 60),
        ('segearth_voc20', 0.2, None, 26),
        ('activesam_cityscapes', None, None, 23),
        ('conceptbank_coco_object', None, 0.5, 81),
        ('segearth_coco_stuff164k', 0.2, None, 171),
    ],
)
def test_settings_and_words_are_the_published_ones(name, confidence, threshold, words):
    from ovseg.vocabulary import build_vocabulary

    model = read_config(f'sam3_{name}').model
    assert model.get('fusion', {}).get('confidence') == confidence
    vocabulary = build_vocabulary(model.vocabulary)
    assert sum(len(entry.prompts) for entry in vocabulary) == words
    assert vocabulary.rejection.threshold == (threshold or 0.0)
    assert model.sam3.layer_norm_eps == 1e-5


def test_a_config_builds_and_labels_an_image():
    model = read_config('sam3_segearth_voc21').model
    model.sam3.update(model=TINY_SAM3, pretrained='random')
    model.text = {'cache_dir': None}
    built = MODELS.build({**model, '_scope_': 'ovseg'}).eval()
    with torch.inference_mode():
        encoding = built.encode(Images(torch.rand(1, 3, 60, 75)))[0]
        labels = built.segment(encoding, (60, 75)).labels
    assert labels.shape == (60, 75) and 0 <= labels.min() <= labels.max() < 21
