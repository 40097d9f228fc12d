"""Nouns of captions: a list's words as a reader finds them, nltk's tags, clear words without it."""

import sys
import types

import pytest

from ovseg.errors import UserError
from ovseg.training.nouns import ListedNouns, TaggedNouns

TAGS = {'A': 'DT', 'Dog': 'NNP', 'runs': 'VBZ', 'trees': 'NNS', 'dog': 'NN', "'s": 'POS', '%': 'NN'}


@pytest.mark.parametrize(
    ('caption', 'nouns'),
    [
        ('A Star on a brick  wall', ['star', 'brick wall']),
        ('stars, starfish, a wall.', ['wall']),
        ('wall and wall', ['wall']),
        ('nothing of it', []),
    ],
)
def test_listed_words_are_found_whole_and_once(caption, nouns):
    assert ListedNouns(['star', 'wall', 'brick wall'])(caption) == nouns


def test_the_spelling_of_the_list_is_returned():
    assert ListedNouns(['Eiffel Tower (Paris)'])('the eiffel tower (paris)') == [
        'Eiffel Tower (Paris)'
    ]


def test_an_empty_list_is_refused():
    with pytest.raises(UserError, match='--words'):
        ListedNouns([])


def fake_nltk(monkeypatch, tag):
    """Stands for nltk, whose data cannot be fetched here."""
    tokenizer = type('Treebank', (), {'tokenize': lambda self, text: text.split()})
    for name, content in (
        ('nltk', {}),
        ('nltk.tag', {'pos_tag': tag}),
        ('nltk.tokenize', {'TreebankWordTokenizer': tokenizer}),
    ):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def test_words_tagged_as_nouns_are_found_once_in_lower_case(monkeypatch):
    fake_nltk(monkeypatch, lambda words: [(word, TAGS[word]) for word in words])
    assert TaggedNouns()("A Dog runs trees dog 's %") == ['dog', 'trees']


def test_missing_nltk_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'nltk', None)
    monkeypatch.setitem(sys.modules, 'nltk.tag', None)
    with pytest.raises(UserError, match=r"pip install 'ovseg\[nouns\]'"):
        TaggedNouns()


def test_missing_data_names_the_download(monkeypatch):
    def no_data(words):
        raise LookupError('averaged_perceptron_tagger_eng')

    fake_nltk(monkeypatch, no_data)
    with pytest.raises(UserError, match='nltk.downloader averaged_perceptron_tagger_eng'):
        TaggedNouns()
