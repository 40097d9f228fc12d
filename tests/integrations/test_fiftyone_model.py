"""FiftyOne: labels of its own for samples of its own, without its data base."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

from ovseg.errors import UserError
from ovseg.integrations.pre_labels import PreLabels

SCENE = ROOT / 'demo' / 'scene.png'
CLASSES = ['sky', 'grass', 'red star']


@pytest.fixture(scope='module')
def fo():
    return pytest.importorskip('fiftyone', reason='needs ovseg[fiftyone]')


@pytest.fixture(scope='module')
def pixels():
    with Image.open(SCENE) as picture:
        return np.asarray(picture.convert('RGB'))


@pytest.fixture(scope='module')
def model(fo):
    from ovseg.integrations.fiftyone_model import OvsegModel

    return OvsegModel(CLASSES, background='water, kite, heart', device='cpu')


def test_semantic_masks_hold_positions_from_1_and_0_for_background(fo, model, pixels):
    assert isinstance(model, fo.Model) and model.media_type == 'image'
    labels = model.predict(pixels)
    assert isinstance(labels, fo.Segmentation) and labels.mask.dtype == np.uint8
    wanted = np.zeros(pixels.shape[:2], int)
    for each in model.pre_labels.masks(pixels, {name: name for name in CLASSES}):
        wanted[each.mask] = CLASSES.index(each.name) + 1
    assert (labels.mask == wanted).all() and set(np.unique(wanted)) == {0, 1, 2, 3}
    assert model.mask_targets == {1: 'sky', 2: 'grass', 3: 'red star'}
    sample = fo.Sample(str(SCENE))
    sample.add_labels(labels, label_field='pre_labels')
    assert (sample['pre_labels'].mask == wanted).all()


def test_other_classes_may_be_asked_at_any_time(model, pixels):
    model.classes = ['fish', 'mushroom']
    try:
        assert set(np.unique(model.predict(pixels).mask)) == {0, 1, 2}
        assert model.mask_targets == {1: 'fish', 2: 'mushroom'}
    finally:
        model.classes = CLASSES


def test_things_are_detections_with_masks(fo, pixels):
    from ovseg.integrations.fiftyone_model import OvsegModel

    words = ['sky', 'grass', 'water', 'star', 'kite', 'heart']
    settings = {'model': 'ovseg-tiny', 'task': 'instance', 'stuff': 'sky; grass; water'}
    labels = OvsegModel(words, device='cpu', **settings).predict(pixels)
    assert isinstance(labels, fo.Detections) and labels.detections
    asked = PreLabels(device='cpu', **settings)
    found = asked.masks(pixels, {word: word for word in words})
    for detection, each in zip(labels.detections, found, strict=True):
        assert (detection.label, detection.confidence) == (each.name, each.score)
        # FiftyOne's own way from box and mask back to the picture.
        whole = detection.to_segmentation(frame_size=(512, 384), target=1).mask
        assert (whole.astype(bool) == each.mask).all()


def test_classes_that_are_a_text_are_refused(model):
    with pytest.raises(UserError, match="must be a list of names, got the string 'sky; grass'"):
        type(model)('sky; grass')


def test_a_missing_library_is_said_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'fiftyone', None)
    monkeypatch.delitem(sys.modules, 'ovseg.integrations.fiftyone_model', raising=False)
    with pytest.raises(UserError, match=r'missing: pip install "ovseg\[fiftyone\]"'):
        import ovseg.integrations.fiftyone_model  # noqa: F401


def test_two_classes_of_one_name_are_refused(fo, pixels):
    """Masks would hold places in a list that ``mask_targets`` counts otherwise."""
    from ovseg.integrations.fiftyone_model import OvsegModel

    with pytest.raises(UserError, match='same name'):
        OvsegModel(['sky', 'sky', 'grass'], device='cpu').predict(pixels)
