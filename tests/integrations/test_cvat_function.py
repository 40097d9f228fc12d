"""CVAT: what its own driver takes from the function, without a server."""

from __future__ import annotations

import contextlib
import importlib
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from PIL import Image
from scripts import ROOT

from ovseg.errors import UserError
from ovseg.integrations.cvat import create

cvataa = pytest.importorskip('cvat_sdk.auto_annotation', reason='needs ovseg[cvat]')
models = importlib.import_module('cvat_sdk.models')
driver = importlib.import_module('cvat_sdk.auto_annotation.driver')
decode_mask = importlib.import_module('cvat_sdk.masks').decode_mask

WORDS = 'sky; grass; red star'
SCENE = ROOT / 'demo' / 'scene.png'


@pytest.fixture(scope='module')
def function():
    return create(labels=WORDS, background='water, kite, heart', device='cpu')


@pytest.fixture(scope='module')
def masks(function):
    """The masks that CVAT must end up with, by label."""
    found = function.pre_labels.masks(SCENE, {word: word for word in WORDS.split('; ')})
    return {each.name: each for each in found}


def labels(*types):
    """A project's labels as its server lists them: other ids than ours, in another order."""
    found = [
        models.Label(id=30 - number, name=name, type=kind, attributes=[], sublabels=[])
        for number, (name, kind) in enumerate(zip(WORDS.split('; '), types, strict=True))
    ]
    return found[::-1]


@pytest.fixture
def annotated(monkeypatch):
    """What CVAT's driver uploads for a task of one image, frame 7."""

    def annotate(function, project, **settings):
        image = Image.open(SCENE)
        sample = SimpleNamespace(
            frame_name='scene.png', frame_index=7, media=SimpleNamespace(load_image=lambda: image)
        )
        dataset = SimpleNamespace(labels=project, samples=[sample])
        monkeypatch.setattr(driver, 'TaskDataset', lambda *args, **kwargs: dataset)
        sent = []
        api = SimpleNamespace(
            partial_update_annotations=lambda *args, patched_labeled_data_request: sent.append(
                patched_labeled_data_request
            )
        )
        client = SimpleNamespace(logger=logging.getLogger(), tasks=SimpleNamespace(api=api))
        cvataa.annotate_task(client, 1, function, **settings)
        (only,) = sent
        assert only.tags == []
        return only.shapes

    return annotate


def test_masks_reach_the_labels_of_the_task(function, masks, annotated):
    shapes = annotated(function, labels('any', 'mask', 'any'))
    ids = {'sky': 30, 'grass': 29, 'red star': 28}
    assert {shape.label_id for shape in shapes} == {ids[name] for name in masks}
    for shape in shapes:
        (name,) = (name for name, number in ids.items() if number == shape.label_id)
        assert str(shape.type) == 'mask' and shape.frame == 7 and str(shape.source) == 'auto'
        decoded = decode_mask(shape.points, image_width=512, image_height=384)
        assert (decoded == masks[name].mask).all()
        assert shape.score == pytest.approx(masks[name].score)


def test_polygons_are_made_where_the_command_wants_them(function, masks, annotated):
    shapes = annotated(function, labels('any', 'polygon', 'any'), conv_mask_to_poly=True)
    assert {str(shape.type) for shape in shapes} == {'polygon'}
    assert len(shapes) == sum(len(each.polygons()) for each in masks.values())
    stars = [shape.points for shape in shapes if shape.label_id == 28]
    drawn = [shapely.Polygon(np.reshape(points, (-1, 2))) for points in stars]
    assert sum(part.area for part in drawn) == pytest.approx(masks['red star'].pixels, rel=0.05)


def test_what_is_less_sure_than_the_command_wants_is_left_out(function, masks, annotated):
    scores = sorted(each.score for each in masks.values())
    shapes = annotated(function, labels('any', 'any', 'any'), conf_threshold=scores[1])
    assert sorted(shape.score for shape in shapes) == scores[1:]


def test_labels_of_a_task_are_read_from_its_server(monkeypatch, annotated):
    asked = []
    project = labels('polygon', 'rectangle', 'points')

    def retrieve(number):
        asked.append(number)
        return SimpleNamespace(get_labels=lambda: project)

    client = SimpleNamespace(tasks=SimpleNamespace(retrieve=retrieve))
    monkeypatch.setattr(
        'cvat_sdk.core.auth.make_client_from_cli',
        lambda access: asked.append(access.server_host) or contextlib.nullcontext(client),
    )
    function = create(task=42, server='http://cvat', background='water, kite', device='cpu')
    assert asked == ['http://cvat', 42]
    # What has points as its shape cannot be drawn.
    assert [(label.name, str(label.type)) for label in function.spec.labels] == [
        ('grass', 'rectangle'),
        ('sky', 'polygon'),
    ]
    shapes = annotated(function, project)
    assert {(shape.label_id, str(shape.type)) for shape in shapes} == {
        (29, 'rectangle'),
        (30, 'polygon'),
    }
    boxes = [shape.points for shape in shapes if shape.label_id == 29]
    found = function.pre_labels.masks(SCENE, {'grass': 'grass', 'sky': 'sky'})
    (grass,) = (each for each in found if each.name == 'grass')
    assert boxes == [list(box) for box in grass.boxes()]
    project[:] = labels('points', 'points', 'points')
    with pytest.raises(UserError, match='No label can be drawn'):
        create(task=42)


def test_synonyms_of_labels_are_asked_for_too(annotated):
    function = create(labels='sky, cloud; grass; fish', device='cpu')
    assert [label.name for label in function.spec.labels] == ['sky', 'grass', 'fish']
    asked = {}
    function.pre_labels = SimpleNamespace(masks=lambda image, words: asked.update(words) or [])
    function.detect(SimpleNamespace(conf_threshold=None, conv_mask_to_poly=False), None)
    assert asked == {'sky': 'sky,cloud', 'grass': 'grass', 'fish': 'fish'}


def test_the_command_line_finds_the_function(function):
    """``cvat-cli`` imports the module, calls ``create`` and asks for ``spec``."""
    module = importlib.import_module('ovseg.integrations.cvat')
    made = module.create(labels='cat, kitten; dog', model='maskclip-tiny', threshold=0.4)
    assert isinstance(made.spec, cvataa.DetectionFunctionSpec)
    assert [label.name for label in made.spec.labels] == ['cat', 'dog']


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({}, r'CVAT needs words: give one of -p task=int:ID'),
        ({'labels': 'cat', 'task': 1}, 'give one of'),
        ({'labels': 'cat', 'colour': 'red'}, "There is no setting 'colour'"),
        ({'labels': 'cat', 'tolerance': -1}, 'tolerance must be a number'),
    ],
)
def test_what_is_missing_or_unknown_is_said(given, message):
    with pytest.raises(UserError, match=message):
        create(**given)
