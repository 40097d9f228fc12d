"""The tiny OVSeg that ships: masks of a MaskFormer that never saw six of the classes."""

from __future__ import annotations

import pytest
import torch
from scene_predictions import scene_predictions
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.config_files import read_config
from ovseg.scenes.datasets import CLASSES
from ovseg.weight_files import WEIGHTS

SCENES = 12


def unseen_accuracy(**settings):
    """Share of the pixels of unseen classes that get the right name, on a few val scenes."""
    predicted, labelled = scene_predictions('ovseg/ovseg', SCENES, **settings)
    names = read_config('ovseg_tiny.py').unseen
    is_unseen = torch.isin(labelled, torch.tensor([CLASSES.index(name) for name in names]))
    return (predicted == labelled)[is_unseen].float().mean().item()


@pytest.mark.slow
def test_the_adapted_clip_names_more_of_what_the_maskformer_never_saw():
    adapted = unseen_accuracy()
    plain = unseen_accuracy(adapted=None, mask_prompts=0)
    assert adapted > plain + 0.1


@pytest.mark.slow
def test_it_finds_words_on_the_demo_picture():
    result = OpenVocabSegmenter('ovseg-tiny', device='cpu')(
        ROOT / 'demo/scene.png', 'sky; grass; water; pink heart; red fish'
    )
    found = {area.name: area.share for area in result.areas()}
    assert found['sky'] > 0.25 and found['grass'] > 0.15 and found['pink heart'] > 0.03


def test_what_ships_is_small():
    names = ('ovseg_tiny_scenes', 'ovseg_clip_tiny_scenes')
    sizes = [(WEIGHTS / f'{name}.safetensors').stat().st_size for name in names]
    assert sum(sizes) <= 8e6
