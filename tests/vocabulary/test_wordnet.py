"""Synonyms and hypernyms of WordNet, by nltk's own reader on a small one."""

from __future__ import annotations

import pytest
from PIL import Image
from small_wordnet import read_by_nltk, write_wordnet

from ovseg import OpenVocabSegmenter
from ovseg.cli.command import main
from ovseg.encoders.sam3_context import ContextSettings
from ovseg.errors import Notice, UserError
from ovseg.vocabulary import Vocabulary, build_vocabulary
from ovseg.vocabulary.descriptions import descriptions_of


@pytest.fixture
def wordnet(tmp_path, monkeypatch):
    write_wordnet(tmp_path)
    read_by_nltk(tmp_path, monkeypatch)


def prompts(words, rejection=None) -> list[tuple[str, ...]]:
    vocabulary = Vocabulary.parse(words, rejection)
    described = descriptions_of('wordnet', vocabulary).describe(vocabulary)
    return [item.prompts for item in described.asked]


def test_classes_get_the_other_words_of_their_sense(wordnet):
    with pytest.warns(Notice, match='WordNet adds cat: true cat; sofa: couch, lounge'):
        assert prompts('cat; sofa; sky') == [
            ('cat', 'true cat'),
            ('sofa', 'couch', 'lounge'),
            ('sky',),
        ]


@pytest.mark.filterwarnings('ignore::ovseg.errors.Notice')
def test_further_words_of_a_class_say_which_sense_is_meant(wordnet):
    assert prompts('bank')[0] == ('bank', 'shore')
    assert prompts('bank, depository')[0] == ('bank', 'depository', 'banking company')
    assert prompts('Cats')[0] == ('Cats', 'cat', 'true cat')  # in any number, of any case


@pytest.mark.filterwarnings('ignore::ovseg.errors.Notice')
def test_no_word_goes_to_two_classes(wordnet):
    assert prompts('sofa; couch') == [('sofa',), ('couch',)]
    assert prompts('sofa; hall') == [('sofa', 'couch'), ('hall',)]  # each would get 'lounge'
    background = {'kind': 'background', 'words': ['lounge']}
    assert prompts('sofa', background)[0] == ('sofa', 'couch')
    assert prompts('sofa; cat', {'kind': 'class_zero'}) == [('sofa',), ('cat', 'true cat')]


def test_where_wordnet_has_nothing_that_is_said_and_words_stay(wordnet):
    with pytest.warns(Notice, match='WordNet has no further words for these classes'):
        assert prompts('sky; red star') == [('sky',), ('red star',)]


def test_python_and_configs_ask_by_them(wordnet):
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu', text={'descriptions': 'wordnet'})
    with pytest.warns(Notice, match='WordNet adds sofa: couch, lounge'):
        labels = segment(Image.new('RGB', (64, 64)), 'sky; sofa').labels
    plain = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    wanted = plain(Image.new('RGB', (64, 64)), 'sky; sofa, couch, lounge').labels
    assert (labels == wanted).all()
    assert segment.model.text.protocol('given', None)['descriptions'] == 'wordnet'


def test_the_command_line_takes_them(wordnet, tmp_path, monkeypatch, capsys):
    Image.new('RGB', (64, 64)).save(tmp_path / 'photo.png')
    monkeypatch.chdir(tmp_path)
    assert main(['segment', 'photo.png', 'sky; sofa', '--descriptions', 'wordnet']) == 0
    assert 'WordNet adds sofa: couch, lounge' in capsys.readouterr().err


def test_hypernyms_are_those_of_the_most_usual_sense(wordnet):
    assert ContextSettings(hypernyms=1).hypernyms_of('cat') == ['whole']
    assert ContextSettings(hypernyms=1).hypernyms_of('nothing of it') == []


def test_a_missing_corpus_is_said(tmp_path, monkeypatch, capsys):
    read_by_nltk(tmp_path, monkeypatch)
    Image.new('RGB', (64, 64)).save(tmp_path / 'photo.png')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='nltk.downloader wordnet, or leave the synonyms'):
        descriptions_of('wordnet', build_vocabulary('cat'))
    with pytest.raises(UserError, match=r'or set model\.context\.hypernyms=0'):
        ContextSettings().hypernyms_of('cat')
    assert main(['segment', 'photo.png', 'sky', '--descriptions', 'wordnet']) == 2
    assert 'nltk.downloader wordnet, or leave --descriptions out' in capsys.readouterr().err
