"""Which colour words name."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.vocabulary.color_table import COLOR_WORDS, MATERIAL_WORDS, SHADE_WORDS, THING_COLORS
from ovseg.vocabulary.color_words import named_color
from ovseg.vocabulary.oklab import color_distance


def color_of(words: str) -> tuple[int, int, int] | None:
    found = named_color(*words.split(';')[:1], words.split(';')[1:])
    return None if found is None else found.color


THINGS = {word: color for color, words in THING_COLORS for word in words.split(', ')}


@pytest.mark.parametrize(
    ('words', 'color'),
    [
        ('red star', COLOR_WORDS['red']),
        ('A Red STAR', COLOR_WORDS['red']),
        ('a photo of a red star', COLOR_WORDS['red']),
        ('person in red', COLOR_WORDS['red']),
        ('red brick wall', COLOR_WORDS['red']),
        ('navy blue jacket', COLOR_WORDS['navy blue']),
        ('sky blue shirt', COLOR_WORDS['sky blue']),
        ('grey', COLOR_WORDS['gray']),
        ('sky', THINGS['sky']),
        ('the night sky', THINGS['night sky']),
        ('sky-other-merged', THINGS['sky']),
        ('leaves', THINGS['leaf']),
        ('cherries', THINGS['cherry']),
        ('polar bears', THINGS['polar bear']),
        ('body of water', THINGS['water']),
        ('a photo of the sea', THINGS['water']),
        ('earth, ground', THINGS['earth']),
        ('wooden floor', MATERIAL_WORDS['wooden']),
        ('floor-wood', MATERIAL_WORDS['wood']),
        ('wall_brick', MATERIAL_WORDS['brick']),
        ('dirt road', MATERIAL_WORDS['dirt']),
        ('wood', MATERIAL_WORDS['wood']),
        ('woods', THINGS['forest']),
    ],
)
def test_words_name_colours_materials_and_things(words, color):
    assert color_of(words) == color


@pytest.mark.parametrize(
    'words',
    [
        'cat',
        'water bottle',
        'skyscraper',
        'grasshopper',
        'cat on grass',
        'glass',
        'bus',
        'light',
        'sand cat',
        'редкий',
        '123',
        '猫',
        '🐈',
    ],
)
def test_other_words_name_none(words):
    assert color_of(words) is None


def test_the_name_decides_and_synonyms_only_if_they_agree():
    assert color_of('red star;blue star') == COLOR_WORDS['red']
    assert color_of('firmament;sky') == THINGS['sky']
    assert color_of('star;red star;blue star') is None


def test_dark_and_light_are_heard():
    assert named_color('dark blue car').lighter < 0 < named_color('light blue car').lighter
    assert named_color('blue light').lighter == 0


def test_what_is_said_goes_before_what_a_thing_has():
    assert named_color('green ball').rank < named_color('sky').rank < named_color('tomato').rank


def test_the_table_is_sound():
    things = [word for _, words in THING_COLORS for word in words.split(', ')]
    assert len(set(things)) == len(things)
    for word in [*COLOR_WORDS, *MATERIAL_WORDS, *SHADE_WORDS, *things]:
        assert word == word.casefold() == ' '.join(word.split())
        assert len(word.split()) <= 3
    colors = [*COLOR_WORDS.values(), *MATERIAL_WORDS.values(), *THINGS.values()]
    assert np.min(colors) >= 0 and np.max(colors) <= 255
    assert color_distance(THINGS['sky'], THINGS['water']) > 0.15
    assert color_distance(THINGS['grass'], THINGS['tree']) > 0.15
