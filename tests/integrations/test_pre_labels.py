"""A project's labels are the words, whichever tool asks."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import ROOT

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.errors import UserError
from ovseg.integrations.pre_labels import PreLabels, without_specks

SCENE = ROOT / 'demo' / 'scene.png'
LABELS = {'Himmel': 'sky', 'grass': 'grass', 'red_star': 'red_star'}


@pytest.fixture(scope='module')
def asked():
    return PreLabels(device='cpu', background='water, kite, heart')


def test_masks_carry_the_tools_labels_and_their_positions(asked):
    found = asked.masks(SCENE, LABELS)
    assert {each.name: each.label for each in found} == {'Himmel': 0, 'grass': 1, 'red_star': 2}
    words = asked.segmenter.segment(SCENE, 'sky; grass; red star')
    for each in found:
        assert (each.mask == (words.labels == each.label + 1)).all()
        assert 0 < each.score <= 1


def test_changed_labels_give_new_masks(asked):
    (only,) = asked.masks(SCENE, {'fish': 'fish'})
    assert only.name == 'fish' and only.label == 0
    assert 0 < only.mask.mean() < 0.5


def test_a_label_called_background_is_never_drawn(asked):
    labels = {'Background': 'background', 'Fisch': 'fish, carp'}
    (with_words,) = asked.masks(SCENE, labels)
    (without,) = PreLabels(device='cpu').masks(SCENE, labels)
    assert with_words.name == without.name == 'Fisch'
    assert with_words.label == without.label == 1


def test_specks_are_left_unlabelled(asked):
    clean = PreLabels(device='cpu', background=asked.background, min_pixels=400)
    clean.__dict__['segmenter'] = asked.segmenter
    for before, after in zip(asked.masks(SCENE, LABELS), clean.masks(SCENE, LABELS), strict=True):
        assert (before.mask >= after.mask).all()
        assert all(part.area >= 400 for part in after.polygons())
    assert any(part.area < 400 for each in asked.masks(SCENE, LABELS) for part in each.polygons())
    diagonal = np.eye(3, dtype=bool)
    assert not without_specks(diagonal, 2).any()
    assert (without_specks(diagonal, 1) == diagonal).all()


def test_things_come_apart_with_a_model_that_proposes_masks():
    asked = PreLabels('ovseg-tiny', device='cpu', task='instance', stuff='sky; grass; water')
    labels = {word: word for word in ('sky', 'grass', 'water', 'star', 'kite', 'heart')}
    found = asked.masks(SCENE, labels)
    assert found and {each.name for each in found} <= {'star', 'kite', 'heart'}
    assert [each.segment for each in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'modell': 'x'}, r"There is no setting 'modell'.*Did you mean 'model'\?"),
        ({'task': 'instances'}, r"task must be one of semantic.*Did you mean 'instance'\?"),
        ({'min_pixels': -1}, 'min_pixels must be a whole number from 0 on, got -1'),
        ({'min_pixels': '20'}, "whole number from 0 on, got '20'"),
    ],
)
def test_settings_that_are_none_are_said_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        PreLabels.of(settings)


def test_no_labels_are_said(asked):
    with pytest.raises(UserError, match='No words were given'):
        asked.masks(SCENE, {})


def test_labels_that_share_a_word_are_refused():
    with pytest.raises(UserError, match="'traffic_light' and 'Ampel' share the word"):
        PreLabels(device='cpu').masks(
            SCENE, {'traffic_light': 'traffic_light', 'Ampel': 'lamp, Traffic light'}
        )


def test_a_class_has_a_box_a_connected_part_and_a_segment_one():
    mask = np.array([[1, 0, 0], [1, 0, 1]], bool)
    boxes = [(0, 0, 1, 2), (2, 1, 3, 2)]
    assert NamedMask(mask, 0, 'cat', None).boxes() == boxes
    assert NamedMask(mask, 0, 'cat', None, segment=1).boxes() == [(0, 0, 3, 2)]
