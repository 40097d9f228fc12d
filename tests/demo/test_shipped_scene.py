"""The first picture that anyone sees: the words of the shipped scene and what comes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg import OpenVocabSegmenter
from ovseg.apis.results import SegmentationResult
from ovseg.scenes.demo import DEMO_ZOOM, demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import COLORS, HELDOUT, MATERIALS, OBJECTS
from ovseg.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
WORDS = ROOT / 'demo' / 'scene.txt'


def true_labels() -> tuple[np.ndarray, list[str]]:
    """(H, W) labels of the scene, and what each of them is called."""
    scene = demo_scene()
    owner = draw(scene, whole(scene, DEMO_ZOOM)).owner
    things = [f'{list(COLORS)[each.color]} {OBJECTS[each.kind]}' for each in scene.things]
    names = [*MATERIALS, *things]
    present = np.unique(owner)
    return np.searchsorted(present, owner), [names[index] for index in present]


@pytest.fixture(scope='module')
def result() -> SegmentationResult:
    return OpenVocabSegmenter('trident-tiny', device='cpu')(ROOT / 'demo' / 'scene.png', WORDS)


def test_the_words_name_all_that_is_in_the_scene():
    _, names = true_labels()
    words = Vocabulary.parse(WORDS).names
    assert sorted(words) == sorted(names)
    # A pair that no caption of the training held.
    assert HELDOUT['star'] == 'red' and 'red star' in words


def test_make_demo_asks_for_them_and_says_so_first():
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    assert 'WORDS := demo/scene.txt' in makefile
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    commands = [line.split('#')[0].strip() for line in readme.splitlines() if line[:4] == ' ' * 4]
    assert commands[:2] == ['make demo', 'make test']


def test_nearly_every_pixel_is_what_it_is_called(result):
    labels, names = true_labels()
    found = np.array([names.index(name) for name in result.names])[result.labels]
    assert (found == labels).mean() > 0.93
    for index, name in enumerate(names):
        assert (found == labels)[labels == index].mean() > 0.8, name
        assert (found == index).mean() < 1.3 * (labels == index).mean() + 0.005, name


def test_every_file_has_the_colours_of_the_words(result, tmp_path):
    words = Vocabulary.parse(WORDS)
    wanted = [list(color) for color in words.palette]
    paths = result.save(tmp_path, 'scene', ['labels', 'json'])
    stored = Image.open(paths['labels']).getpalette()
    assert np.reshape(stored, (-1, 3))[: len(wanted)].tolist() == wanted
    assert json.loads(paths['json'].read_text())['palette'] == wanted
    outline = result.overlay(legend=False)[result.mask('red star')].tolist()
    assert wanted[words.names.index('red star')] in outline


def test_the_picture_of_the_readme_is_what_the_demo_draws(result):
    shipped = np.asarray(Image.open(ROOT / 'docs' / 'images' / 'demo.png').convert('RGB'))
    drawn = result.overlay()
    assert drawn.shape == shipped.shape
    # Versions of torch and of the font library round differently.
    assert np.abs(drawn.astype(int) - shipped).mean() < 2
