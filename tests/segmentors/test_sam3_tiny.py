"""The tiny SAM 3 that ships: it knows the words of Scenes, and what is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.images import Images
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.weight_files import WEIGHTS

pytest.importorskip('transformers', minversion='5.12')
SCENES = [(scene, draw(scene)) for scene in (sample_scene('val', index) for index in range(12))]


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('sam3-tiny', device='cpu', precision='float32')


def test_pixels_get_the_names_of_their_classes(segment):
    right = [
        segment(picture.image, '; '.join(CLASSES)).labels == class_labels(scene, picture)
        for scene, picture in SCENES
    ]
    assert np.mean(right) > 0.93


@torch.no_grad()
def test_presence_tells_what_is_there():
    config = read_config('sam3_tiny', on='images')
    config.model.vocabulary = list(CLASSES)
    model = build_model(config).eval()
    own, right = model.data_preprocessor, []
    for scene, picture in SCENES:
        image = torch.from_numpy(picture.image.copy()).permute(2, 0, 1).float()
        (encoding,) = model.encode(Images((image[None] - own.mean) / own.std))
        presence = model.sam3.ask(encoding.features, model.classifier.asked, ('presence',)).presence
        is_there = np.isin(np.arange(len(CLASSES)), class_labels(scene, picture))
        right.append((presence.numpy() > 0) == is_there)
    assert np.mean(right) > 0.9


def test_words_in_new_pairs_are_found_on_the_demo_picture(segment):
    result = segment(ROOT / 'demo/scene.png', 'sky; grass; water; red star; orange mushroom')
    shares = {area.name: area.share for area in result.areas()}
    assert shares['red star'] > 0.015 and shares['orange mushroom'] > 0.03


def test_what_is_not_there_stays_unlabelled(segment):
    scene, picture = SCENES[0]
    absent = [
        name for label, name in enumerate(CLASSES) if label not in class_labels(scene, picture)
    ]
    words = Vocabulary.parse(absent).with_rejection(Rejection('threshold', 0.5))
    result = segment(picture.image, words)
    found = {area.name: area.share for area in result.areas()}
    assert found['background'] > 0.95


def test_what_ships_is_small():
    assert (WEIGHTS / 'tiny_sam3_scenes.safetensors').stat().st_size <= 6e6
