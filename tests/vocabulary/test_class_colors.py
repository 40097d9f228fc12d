"""Colours of the classes of a vocabulary."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.color_table import COLOR_WORDS
from ovseg.vocabulary.oklab import color_distance, to_oklab


def palette_of(words) -> dict[str, tuple[int, int, int]]:
    vocabulary = Vocabulary.parse(words)
    return dict(zip(vocabulary.names, vocabulary.palette, strict=True))


def hue_of(color) -> float:
    _, green_red, blue_yellow = to_oklab(color)
    return np.degrees(np.arctan2(blue_yellow, green_red))


def nearest_pair(palette) -> float:
    return min(color_distance(a, b) for a, b in combinations(palette.values(), 2))


SCENE = (
    'sky; grass; water; red star; purple kite; pink heart; orange mushroom; yellow flower; '
    'blue ball; red fish'
)


def test_colours_follow_words_and_the_rest_stays_away():
    palette = palette_of('cat; red star; grass; sofa')
    assert palette['red star'] == COLOR_WORDS['red']
    assert 120 < hue_of(palette['grass']) < 150
    for other in ('cat', 'sofa'):
        assert color_distance(palette[other], palette['red star']) > 0.2
        assert color_distance(palette[other], palette['grass']) > 0.2


@pytest.mark.parametrize(
    'words',
    [
        'red star; red heart',
        'red star; red heart; red ball; red fish',
        'green ball; green fish; grass; tree; leaf',
        'blue ball; water; sky',
        'white dog; white cat; snow',
        'black cat; black dog; black bird',
    ],
)
def test_equal_colours_become_tellable_tones_of_one_hue(words):
    palette = palette_of(words)
    assert nearest_pair(palette) > 0.09
    chroma = [np.hypot(*to_oklab(color)[1:]) for color in palette.values()]
    hues = [hue_of(color) for color in palette.values()]
    if 'star' in words:
        assert max(hues) - min(hues) < 32 and min(chroma) > 0.1


def test_all_of_a_scene_can_be_told_apart():
    palette = palette_of(SCENE)
    assert nearest_pair(palette) > 0.1
    assert abs(hue_of(palette['red fish']) - hue_of(palette['red star'])) < 16
    assert color_distance(palette['sky'], palette['water']) > 0.15


def test_dark_and_light_tones_are_darker_and_lighter():
    palette = palette_of('blue car; dark blue car; light blue car')
    lightness = {name: to_oklab(color)[0] for name, color in palette.items()}
    assert lightness['dark blue car'] < lightness['blue car'] - 0.05
    assert lightness['light blue car'] > lightness['blue car'] + 0.05


def test_other_colours_stay_away_from_what_photographs_are_made_of():
    palette = palette_of('cat; sofa; person; car; bus; dog; bird; horse')
    for color in palette.values():
        for grey in range(0, 256, 32):
            assert color_distance(color, (grey, grey, grey)) > 0.1


def test_given_colours_stay_and_words_give_way_to_them():
    classes = [
        {'name': 'red star', 'color': [1, 2, 3]},
        {'name': 'car', 'color': list(COLOR_WORDS['red'])},
        'red ball',
    ]
    palette = palette_of({'classes': classes})
    assert palette['red star'] == (1, 2, 3)
    assert palette['car'] == COLOR_WORDS['red']
    assert color_distance(palette['red ball'], palette['car']) > 0.09


def test_the_order_of_other_words_does_not_change_a_named_colour():
    forward = palette_of(SCENE)
    backward = palette_of('; '.join(reversed(SCENE.split('; '))))
    for name in ('sky', 'grass', 'purple kite', 'blue ball'):
        assert forward[name] == backward[name]


def test_the_colours_of_a_scene_are_pinned():
    assert palette_of(SCENE) == {
        'sky': (120, 190, 240),
        'grass': (86, 160, 50),
        'water': (14, 116, 158),
        'red star': (214, 34, 40),
        'purple kite': (128, 50, 176),
        'pink heart': (248, 130, 186),
        'orange mushroom': (245, 133, 24),
        'yellow flower': (248, 216, 40),
        'blue ball': (36, 84, 216),
        'red fish': (150, 0, 15),
    }


@pytest.mark.parametrize('words', ['red thing {}', 'grass {}', 'thing {}', 'white {}'])
def test_thousands_of_like_words_have_colours_of_their_own(words):
    palette = palette_of([words.format(index) for index in range(2000)])
    assert len(set(palette.values())) == 2000
