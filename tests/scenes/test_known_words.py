"""The words of Scenes' captions, known and unknown."""

from __future__ import annotations

import itertools

from ovseg.scenes.captions import CAPTION_WORDS
from ovseg.scenes.known_words import known_names, other_things, unknown_words
from ovseg.scenes.world import COLORS, MATERIALS, OBJECTS
from ovseg.vocabulary import TEMPLATE_SETS, fill_template, get_templates


def test_whatever_captions_can_say_is_known():
    pairs = [f'{color} {kind}' for color, kind in itertools.product(COLORS, OBJECTS)]
    assert not unknown_words([*pairs, *MATERIALS, *CAPTION_WORDS, 'Wooden STAR', 'the red-blue'])


def test_sentences_of_templates_are_known_around_known_words_only():
    for name in TEMPLATE_SETS:
        for template in get_templates(name):
            # Captions had no plurals.
            plural = ['stars'] if '{}s' in template else []
            assert unknown_words([fill_template(template, 'star')]) == plural
    assert unknown_words(['tattoo', 'the toy', 'a bad photo']) == ['tattoo', 'toy', 'bad']


def test_all_else_is_unknown_and_named_once():
    asked = ['cat', 'nonexistent zebra', 'red Zebra', 'stars', 'star 2', '星', '\U0001f431']
    unknown = ['cat', 'nonexistent', 'zebra', 'stars', '2', '星', '\U0001f431']
    assert unknown_words(asked) == unknown


def test_the_rest_of_the_world_shares_no_word_with_what_is_asked_for():
    rest = other_things(['red star', 'brick'])
    assert set(known_names()) - set(rest) == {*COLORS, 'star', 'brick wall'}
    assert not unknown_words(rest)
