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


def two_balls(segment, scene, **asked):
    """Segments that are balls, in a scene with two of them side by side."""
    ball, blue = OBJECTS.index('ball'), list(COLORS).index('blue')
    things = [Thing(ball, blue, (x, 96), 56, 0, False, (1, 1, 1)) for x in (62, 126)]
    picture = draw(replace(scene, things=tuple(things)), WHOLE)
    found = segment.segments(picture.image, '; '.join(CLASSES), **asked)
    return [each for each in found.segments if found.names[each.label] == 'ball']


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


def test_two_things_side_by_side_come_apart(segment):
    stuff = '; '.join(name for name in CLASSES if name not in OBJECTS)
    asked = {'stuff': stuff}
    whole = OpenVocabSegmenter('ovseg-tiny', device='cpu', precision='float32')
    apart, together = [], []
    for index in range(4):
        scene = sample_scene('val', index)
        apart.append(len(two_balls(segment, scene, **asked)))
        together.append(len(two_balls(whole, scene, **asked)))
    assert apart == [2, 2, 2, 2]
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
