"""The tiny FC-CLIP that ships: classes that its decoder never saw, and things told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.config_files import read_config
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import Camera, draw
from ovseg.scenes.world import CANVAS, COLORS, OBJECTS, Thing, sample_scene
from ovseg.weight_files import WEIGHTS

SCENES = 12
WHOLE = Camera(0, 0, (CANVAS, CANVAS), 1)


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('fcclip-tiny', device='cpu', precision='float32')


def pair_of(kind, colors, index):
    """A picture of a val scene's materials with two things of a kind."""
    number, names = OBJECTS.index(kind), list(COLORS)
    places = ((46, 80, colors[0], 0), (146, 110, colors[1], 20))
    things = tuple(
        Thing(number, names.index(color), (x, y), 52, angle, False, (1, 1, 1))
        for x, y, color, angle in places
    )
    return draw(replace(sample_scene('val', index), things=things), WHOLE).image


def count_of(segment, image, kind):
    stuff = '; '.join(name for name in CLASSES if name not in OBJECTS)
    found = segment.segments(image, '; '.join(CLASSES), stuff=stuff)
    return sum(found.names[each.label] == kind for each in found.segments)


def test_clip_names_what_the_decoder_never_saw(segment):
    unseen = [CLASSES.index(name) for name in read_config('fcclip_tiny.py').unseen]
    right = {True: [], False: []}
    for index in range(SCENES):
        scene = sample_scene('val', index)
        picture = draw(scene, WHOLE)
        labels = class_labels(scene, picture)
        is_right = segment(picture.image, '; '.join(CLASSES)).labels == labels
        for is_unseen, shares in right.items():
            shares.append(is_right[np.isin(labels, unseen) == is_unseen])
    seen, unseen = (np.concatenate(right[key]).mean() for key in (False, True))
    assert seen > 0.85 and unseen > 0.5


def test_two_things_of_a_class_come_apart(segment):
    whole = OpenVocabSegmenter('ovseg-tiny', device='cpu', precision='float32')
    kinds = (('ball', ('blue', 'red')), ('target', ('red', 'yellow')))
    pictures = [(kind, pair_of(kind, tones, index)) for kind, tones in kinds for index in range(4)]
    apart = [count_of(segment, image, kind) for kind, image in pictures]
    together = [count_of(whole, image, kind) for kind, image in pictures]
    assert apart.count(2) >= 7 and max(apart) == 2
    assert max(together) == 1  # the tiny OVSeg has a mask a class


def test_the_demo_picture_has_things_and_stuff(segment):
    stuff = 'sky; grass; water'
    found = segment.segments(ROOT / 'demo/scene.png', f'{stuff}; ball; heart; kite', stuff=stuff)
    names = {found.names[each.label]: each.is_thing for each in found.segments}
    assert {name for name, is_thing in names.items() if not is_thing} == set(stuff.split('; '))
    assert {'ball', 'heart'} <= set(names)


def test_what_ships_is_small():
    names = ('tiny_convnext_scenes', 'fcclip_tiny_scenes')
    assert sum((WEIGHTS / f'{name}.safetensors').stat().st_size for name in names) <= 8e6
