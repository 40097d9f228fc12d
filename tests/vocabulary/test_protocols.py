"""The reader of published words."""

from __future__ import annotations

import json

import pytest

from ovseg.errors import UserError
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary, list_protocols, protocols


@pytest.fixture
def names_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, 'NAMES_FOLDER', tmp_path)
    lists = {
        'mmseg_metainfo': [['background'], ['diningtable'], ['bed ']],
        'sclip': [['sky', 'wall'], ['table'], ['bed, cot', 'bed']],
        'naclip': 'same as sclip',
        'deep': 'same as naclip',
        'short': [['sky'], ['table']],
    }
    (tmp_path / 'voc21.json').write_text(json.dumps(lists))
    (tmp_path / 'plain.json').write_text('{"ours": [["cat", "kitten"], ["dog"]]}')
    return tmp_path


def test_names_are_the_data_sets_and_prompts_the_protocols(names_folder):
    vocabulary = Vocabulary.from_protocol('voc21', 'sclip')
    assert vocabulary.names == ('background', 'diningtable', 'bed ')
    assert [item.prompts for item in vocabulary] == [
        ('sky', 'wall'),
        ('table',),
        ('bed, cot', 'bed'),
    ]


def test_background_label_is_class_zero_unless_told_otherwise(names_folder):
    vocabulary = Vocabulary.from_protocol('voc21', 'sclip')
    assert vocabulary.rejection == Rejection('class_zero')
    assert vocabulary.palette[0] == (0, 0, 0)
    assert Vocabulary.from_protocol('voc21', 'sclip', 'none').background_index is None
    assert Vocabulary.from_protocol('plain', 'ours').background_index is None


def test_same_as_is_followed(names_folder):
    sclip = Vocabulary.from_protocol('voc21', 'sclip')
    assert Vocabulary.from_protocol('voc21', 'naclip') == sclip
    assert Vocabulary.from_protocol('voc21', 'deep') == sclip


def test_without_the_data_sets_list_the_first_word_is_the_name(names_folder):
    assert Vocabulary.from_protocol('plain', 'ours').names == ('cat', 'dog')


def test_config_entry_names_data_set_and_protocol(names_folder):
    entry = {'dataset': 'voc21', 'protocol': 'sclip', 'rejection': {'kind': 'none'}}
    assert build_vocabulary(entry) == Vocabulary.from_protocol('voc21', 'sclip', 'none')
    with pytest.raises(UserError, match="Did you mean 'rejection'"):
        build_vocabulary({'dataset': 'voc21', 'protocol': 'sclip', 'rejecton': None})


@pytest.mark.parametrize(
    ('dataset', 'protocol', 'message'),
    [
        ('voc22', 'sclip', "Did you mean 'voc21'?"),
        ('voc21', 'sclp', "Did you mean 'sclip'?"),
        ('voc21', 'short', 'short has 2 classes but mmseg_metainfo has 3'),
    ],
)
def test_unknown_words_are_refused(names_folder, dataset, protocol, message):
    with pytest.raises(UserError) as error:
        Vocabulary.from_protocol(dataset, protocol)
    assert message in str(error.value)


@pytest.mark.parametrize('lists', [{'a': 'same as b'}, {'a': 'same as a'}])
def test_references_to_nothing_are_refused(names_folder, lists):
    (names_folder / 'broken.json').write_text(json.dumps(lists))
    with pytest.raises(UserError, match="a is 'same as' nothing"):
        Vocabulary.from_protocol('broken', 'a')


def test_every_shipped_list_makes_a_vocabulary():
    sizes = {}
    for dataset, methods in list_protocols().items():
        for method in methods:
            vocabulary = Vocabulary.from_protocol(dataset, method)
            sizes.setdefault(dataset, set()).add(len(vocabulary))
    assert sizes['voc21'] == {21}
    assert sizes['ade847'] == {847}
    assert all(len(counts) == 1 for counts in sizes.values())
