"""Descriptions, experts, rules and contrast words, as a segmenter is given them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ovseg.apis import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.scenes.draw import draw
from ovseg.scenes.world import sample_scene
from ovseg.text.combine import Combine

WORDS = 'water; sky'


@pytest.fixture(scope='module')
def picture():
    return draw(sample_scene('val', 0)).image


def test_contrast_words_that_won_pixels_are_told(picture):
    segment = OpenVocabSegmenter('maskclip-tiny', contrast='auto')
    result = segment(picture, WORDS)
    assert result.names == ('background', 'water', 'sky')
    won = dict(result.contrast)
    assert sum(won.values()) == (result.labels == 0).sum() > 0
    assert not {'water', 'sky'} & won.keys()
    first = next(iter(won))
    assert result.table().splitlines()[-1].startswith('none of these: ')
    assert first in result.table() and result.to_dict()['contrast'] == won
    # One class has something beside it then, and nothing else is added.
    assert segment(picture, 'water').names == ('background', 'water')
    # Its own words, asked again, stay as they are.
    again = segment(picture, segment.question(WORDS)[0])
    assert np.array_equal(again.labels, result.labels)


def test_settings_of_words_reach_the_classifier(picture, tmp_path):
    said, ranking = tmp_path / 'said.json', tmp_path / 'ranking.json'
    said.write_text('{"water": ["The water is blue."]}', encoding='utf-8')
    best = {'entropy_ranking': [{'template_id': 1, 'entropy': 0.1, 'pixel_percentage': 5.0}]}
    ranking.write_text(json.dumps({'classes': {'sky': best, 'water': best}}), encoding='utf-8')
    templates = ['a photo of a {}.', '{} in a scene']
    segment = OpenVocabSegmenter(
        'maskclip-tiny',
        templates=templates,
        text={'combine': 'lse', 'descriptions': said, 'experts': ranking},
    )
    _, classifier = segment.question(WORDS)
    assert classifier.origin == ('text', 'description', 'text')
    assert classifier.aggregation == 'lse' and len(classifier.experts) == 1
    fused = segment(picture, WORDS, scores=True)
    plain = OpenVocabSegmenter(
        'maskclip-tiny', templates=templates, text={'combine': 'lse', 'descriptions': said}
    )
    whole = plain(picture, WORDS, scores=True)
    np.testing.assert_allclose(fused.scores.sum(0), 1, atol=1e-5)
    assert not np.allclose(fused.scores, whole.scores, atol=1e-3)
    told = segment.model.protocol()
    assert (told['synonyms'], told['descriptions']) == ('lse', str(said))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'text': {'combin': 'lse'}}, "unknown setting 'combin'.*Did you mean 'combine'"),
        ({'contrast': 'aut'}, "got 'aut'"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        OpenVocabSegmenter('maskclip-tiny', **settings)(np.zeros((32, 32, 3), np.uint8), WORDS)


def test_models_with_words_of_their_own_take_none_of_these():
    with pytest.raises(UserError, match='trained with its own words: give no combine'):
        OpenVocabSegmenter('denseclip-tiny', text={'combine': 'lse'})
    with pytest.raises(UserError, match='takes no contrast words'):
        OpenVocabSegmenter('denseclip-tiny', contrast='auto')


def test_the_command_line_offers_every_rule():
    from typing import get_args

    from ovseg.cli.word_arguments import COMBINE

    assert get_args(Combine) == COMBINE
