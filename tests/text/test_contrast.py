"""Words for "none of these": where they come from, and which stay."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from ovseg.errors import Notice, UserError
from ovseg.text.contrast import cooccurring, with_contrast
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.contrast_words import SCENE_WORDS, contrast_words
from ovseg.vocabulary.descriptions import FORMAT

VECTORS = {
    'cat': [1.0, 0.0, 0.0], 'dog': [0.0, 1.0, 0.0], 'lynx': [0.95, 0.1, 0.0],
    'wall': [0.0, 0.1, 1.0], 'sky': [0.3, 0.0, -1.0], 'background': [0.99, 0.0, 0.1],
}  # fmt: skip


class Known:
    name, fingerprint, logit_scale = 'known', 'known', 100.0

    def encode(self, prompts):
        return torch.tensor([VECTORS[prompt] for prompt in prompts])


def chosen(asked, source, rejection=None, **settings):
    return with_contrast(Vocabulary.parse(asked, rejection), Known(), source, 'none', **settings)


def test_words_near_a_class_are_left_out(tmp_path):
    path = tmp_path / 'contrast.txt'
    path.write_text('background, lynx, wall\ndog, sky,  wall\n', encoding='utf-8')
    found = chosen('cat; dog', path)
    assert found.rejection == Rejection('background', words=('wall', 'sky'))
    assert found.names == ('background', 'cat', 'dog')
    wider = chosen('cat; dog', path, delta=0.9999)
    assert wider.rejection.words == ('background', 'lynx', 'wall', 'sky')
    kept = chosen('cat', path, rejection=Rejection('threshold', 0.3, words=('sky',)))
    assert (kept.rejection.words, kept.rejection.threshold) == (('sky', 'wall', 'dog'), 0.3)
    first = chosen('wall; cat', path, rejection=Rejection('class_zero'))
    assert first.names == ('wall', 'cat') and first[0].prompts == ('wall', 'dog', 'sky')


def test_background_is_a_word_whatever_it_is_near_to():
    assert chosen('cat', 'background').rejection.words == ('background',)
    assert chosen('cat', 'none') == Vocabulary.parse('cat')
    with pytest.warns(Notice, match='all 1 contrast words are within a cosine of 0.9'):
        assert chosen('cat', 'auto', words=['lynx']) == Vocabulary.parse('cat')


def test_lists_by_class_count_for_the_classes_asked(tmp_path):
    vocabulary = Vocabulary.parse('red_cat; dog')
    path = tmp_path / 'contrast.json'
    said = {'format': FORMAT, 'classes': [{'name': 'dog', 'contrast': ['lawn', 'dog']}]}
    for content, expected in (
        (['wall', 'sky', 'wall'], ('wall', 'sky')),
        ({'red cat': ['sofa'], 'sofa': ['wall']}, ('sofa',)),
        (said, ('lawn',)),
    ):
        path.write_text(json.dumps(content), encoding='utf-8')
        assert contrast_words(path, vocabulary) == expected
    path.write_text('{"sofa": ["wall"]}', encoding='utf-8')
    with pytest.raises(UserError, match='no contrast word for the classes'):
        contrast_words(path, vocabulary)
    with pytest.raises(UserError, match="must be none, background, auto or a .txt .* got 'aut'"):
        contrast_words('aut', vocabulary)


def test_the_lexicon_lists_each_word_once_and_none_that_is_asked():
    assert len({word.casefold() for word in SCENE_WORDS}) == len(SCENE_WORDS) > 90
    assert 'sky' not in contrast_words('auto', Vocabulary.parse('cat; Sky'))


def test_cooccurrence_takes_words_often_seen_together_and_unlike():
    words = F.normalize(torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    counts = torch.tensor([[100.0, 50, 20, 0.5], [50, 90, 0, 0], [20, 0, 40, 0], [0.5, 0, 0, 9]])
    found = cooccurring(words[:1] * 3, words, counts)
    assert found.tolist() == [[False, False, True, False]]
    allowed = torch.tensor([True, True, False, True])
    assert not cooccurring(words[:1], words, counts, allowed=allowed).any()
    assert cooccurring(words[:1], words, counts, gamma=0.001)[0, 3]
