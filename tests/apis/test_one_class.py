"""One class alone: something is put beside it, and said."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_dense_clip import CLASSES

from ovseg.apis import OpenVocabSegmenter
from ovseg.apis.one_class import beside_one_class, usual_background
from ovseg.errors import Notice, UserError
from ovseg.scenes.draw import draw
from ovseg.scenes.world import MATERIALS, OBJECTS, sample_scene
from ovseg.vocabulary import Rejection, Vocabulary

CONFIG = Path(__file__).parents[1] / 'data' / 'configs' / 'random_tiny.py'
OTHERS = ['wall', 'floor']


def silent(ask):
    with warnings.catch_warnings():
        warnings.simplefilter('error', Notice)
        return ask()


@pytest.fixture(scope='module')
def tiny() -> OpenVocabSegmenter:
    return OpenVocabSegmenter('maskclip-tiny')


@pytest.mark.parametrize(
    ('source', 'threshold'),
    [
        ('cat', 0.0),
        ('cat, kitten', 0.0),
        (['cat'], 0.0),
        ({'classes': ['cat'], 'threshold': 0.3}, 0.3),
        (Vocabulary.parse('cat', Rejection('threshold', 0.2)), 0.2),
    ],
)
def test_a_background_is_added_and_said(source, threshold):
    with pytest.warns(Notice, match='of the words wall, floor. Choose others with --background'):
        vocabulary = beside_one_class(Vocabulary.parse(source), OTHERS)
    assert vocabulary.names == ('background', 'cat')
    assert vocabulary.rejection == Rejection('background', threshold, ('wall', 'floor'))


@pytest.mark.parametrize(
    ('words', 'hint'),
    [
        ('sky, grass, water', '3 classes, ";" separates them: "sky; grass; water"'),
        ('sky | grass', '2 classes, ";" separates them: "sky; grass"'),
        ('sky . grass . sea .', '"sky; grass; sea"'),
        ('u, v, w, x, y, z', '"u; v; w; x; ..."'),
    ],
)
def test_one_class_of_several_words_brings_a_hint(words, hint):
    with pytest.warns(Notice) as caught:
        beside_one_class(Vocabulary.parse(words), OTHERS)
    assert hint in str(caught[0].message)


def test_a_plain_class_brings_no_hint():
    for words in ('wooden floor', 'U.S. flag', 'traffic_light'):
        with pytest.warns(Notice) as caught:
            beside_one_class(Vocabulary.parse(words), OTHERS)
        assert 'separates' not in str(caught[0].message)


@pytest.mark.parametrize(
    'vocabulary',
    [
        Vocabulary.parse('cat; dog'),
        Vocabulary.parse('cat', Rejection('background', words=('sky',))),
        Vocabulary.parse('cat', Rejection('threshold', 0.5, ('sky',))),
        Vocabulary.parse('cat', 'none'),
        Vocabulary.parse({'classes': ['cat'], 'rejection': {'kind': 'none'}}),
    ],
)
def test_what_is_stated_is_obeyed(vocabulary):
    assert silent(lambda: beside_one_class(vocabulary, OTHERS)) is vocabulary


@pytest.mark.parametrize('rule', [None, 'class_zero', Rejection('threshold', 0.5)])
def test_a_background_alone_is_refused(rule):
    with pytest.raises(UserError, match="'background', is the background: name what to look for"):
        beside_one_class(Vocabulary.parse('background', rule), OTHERS)


def test_the_usual_background_leaves_out_what_is_asked_for():
    assert 'sands' not in usual_background(['sand']) and 'wall' in usual_background(['sand'])
    assert 'floor' not in usual_background(['wooden floor'])


def test_models_of_photographs_take_the_usual_background():
    torch.manual_seed(0)
    segment = OpenVocabSegmenter(CONFIG)
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with pytest.warns(Notice, match='of the words sky, wall, tree, '):
        result = segment(image, 'cat')
    assert result.names == ('background', 'cat')
    assert result.background_index == 0
    given = ', '.join(usual_background(['cat']))
    again = silent(lambda: segment(image, 'cat', background=given))
    np.testing.assert_array_equal(result.labels, again.labels)


def test_the_answer_of_a_small_world_is_useful_and_its_words_are_known(tiny):
    hits = total = found = 0
    for index in range(6):
        drawn = draw(sample_scene('val', index))
        with pytest.warns(Notice, match='a background is added') as caught:
            mask = tiny(drawn.image, 'sky').mask('sky')
        assert len(caught) == 1  # none of its words is unknown
        truth = drawn.owner == MATERIALS.index('sky')
        hits, total, found = hits + (mask & truth).sum(), total + truth.sum(), found + mask.sum()
    assert hits / (total + found - hits) > 0.6


def test_thresholds_and_words_of_the_start_count_too(tiny):
    image = draw(sample_scene('val', 0)).image
    with pytest.warns(Notice, match='a background is added'):
        result = tiny(image, 'red star', threshold=0.4)
    assert result.names == ('background', 'red star')
    with pytest.warns(Notice, match='a background is added') as caught:
        segment = OpenVocabSegmenter('maskclip-tiny', vocabulary='star, red star')
    words = str(caught[0].message)
    assert all(word in words for word in (*MATERIALS, *OBJECTS) if word != 'star')
    assert silent(lambda: segment(image)).names == ('background', 'star')


def test_a_configs_one_class_stays_as_it_is(tmp_path):
    config = tmp_path / 'one.py'
    config.write_text(f'_base_ = {str(CONFIG)!r}\nmodel = dict(vocabulary=["cat"])\n')
    segment = OpenVocabSegmenter(config)
    image = np.zeros((32, 32, 3), np.uint8)
    assert silent(lambda: segment(image)).names == ('cat',)


def test_a_trained_model_says_that_it_takes_no_background():
    with pytest.warns(Notice, match='takes no words for a background'):
        vocabulary = beside_one_class(Vocabulary.parse(CLASSES[0]), None)
    assert len(vocabulary) == 1


def test_a_json_file_may_choose(tmp_path):
    file = tmp_path / 'cat.json'
    file.write_text(json.dumps({'classes': ['cat'], 'background': ['sofa']}))
    vocabulary = Vocabulary.parse(file)
    assert silent(lambda: beside_one_class(vocabulary, OTHERS)).rejection.words == ('sofa',)
