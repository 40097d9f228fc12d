"""Models that were trained on drawn scenes say what they cannot know, and which model to take."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from few_windows import few_windows
from PIL import Image
from scripts import load_script

from ovseg.apis import OpenVocabSegmenter
from ovseg.errors import Notice
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.vocabulary import Vocabulary

CONFIG = Path(__file__).parents[1] / 'data' / 'configs' / 'random_tiny.py'
WORDS = 'sky; grass; red star; the blue ball'
INSTEAD = 'take maskclip-vit-b16'


@pytest.fixture(scope='module')
def segment() -> OpenVocabSegmenter:
    return OpenVocabSegmenter('maskclip-tiny')


@pytest.fixture(scope='module')
def scene() -> np.ndarray:
    return draw(sample_scene('val', 0)).image


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def notices(ask) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        ask()
    return [str(warning.message) for warning in caught if issubclass(warning.category, Notice)]


def test_known_words_on_scenes_are_answered_without_a_word(segment, scene):
    def ask():
        segment(scene, WORDS)
        segment.prepare(WORDS, background='water; snow')
        segment(segment.encode(scene), Vocabulary.parse('red star; grass'), threshold=0.3)

    assert notices(ask) == []


@pytest.mark.parametrize(
    ('words', 'named'),
    [
        ('cat; dog', "'cat', 'dog' were never seen"),
        ('sky; nonexistent zebra', "'nonexistent', 'zebra' were"),
        (['grass', {'name': 'x', 'description': 'a tall okapi'}], "'tall', 'okapi'"),
        ('stars; sky', "'stars' was never seen.*Did you mean 'star'"),
        ('; '.join(f'sky w{number}' for number in range(20)), "'w7' and 12 more"),
    ],
)
def test_unknown_words_are_named_with_the_model_to_take(segment, words, named):
    with pytest.warns(Notice, match=named) as caught:
        segment.prepare(words)
    assert INSTEAD in str(caught[0].message)
    assert len(caught) == 1


def test_unknown_background_words_are_named(segment, scene):
    with pytest.warns(Notice, match="'road' was never seen"):
        segment(scene, 'sky; grass', background='water, road')


def test_photographs_are_doubted_once_when_they_are_encoded(segment):
    with pytest.warns(Notice, match='photograph') as caught:
        encoded = segment.encode(photo())
    assert INSTEAD in str(caught[0].message)
    assert notices(lambda: segment(encoded, WORDS)) == []


def test_python_shows_a_question_of_one_line_once(segment):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        for words in ('cat; sky', 'cat; sky', 'dog; sky'):
            segment.prepare(words)
    assert len([warning for warning in caught if warning.category is Notice]) == 2
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    'name',
    ['trident-tiny', 'clip-dinoiser-tiny', 'proxyclip-tiny', 'ovseg-tiny', 'sclip/sclip_tiny.py'],
)
def test_every_model_of_scenes_says_so(name):
    tiny = few_windows(OpenVocabSegmenter(name, on='images'))
    with pytest.warns(Notice, match="'zebra' was never seen"):
        tiny.prepare('zebra; sky')
    with pytest.warns(Notice, match='photograph'):
        tiny.encode(photo())
    assert notices(lambda: tiny.prepare(WORDS)) == []


def test_a_trained_model_of_scenes_doubts_photographs(scene):
    tiny = OpenVocabSegmenter('denseclip-tiny')
    assert notices(lambda: tiny(scene)) == []
    with pytest.warns(Notice, match='denseclip-tiny was trained on'):
        tiny(photo())


def test_other_models_are_not_doubted():
    segment = OpenVocabSegmenter(CONFIG)
    assert notices(lambda: segment(photo(), 'zebra; cat')) == []


def test_the_command_line_prints_a_line_for_each(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('photos').mkdir()
    for number in range(2):
        Image.fromarray(photo()).save(f'photos/{number}.png')
    assert load_script('image_demo', 'demo').main(['photos', 'cat; grass']) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if 'warning' in line]
    assert len(said) == 2
    assert all(line.startswith('warning: ') and INSTEAD in line for line in said)
    assert "'cat' was never seen" in said[0]
    assert 'photograph' in said[1]
