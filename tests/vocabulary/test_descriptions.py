"""Descriptions of classes: files of every format, and what a class takes from them."""

from __future__ import annotations

import json

import pytest
import torch

from ovseg.errors import Notice, UserError
from ovseg.vocabulary import Rejection, Vocabulary
from ovseg.vocabulary.descriptions import FORMAT, Descriptions, of_map, read_descriptions

OWN = {
    'format': FORMAT,
    'classes': [
        {
            'name': 'okapi',
            'synonyms': ['forest giraffe'],
            'descriptions': [
                {'text': 'an okapi in a forest', 'weight': 2},
                {'text': 'apple green leaves around it', 'full': False},
                'a brown okapi',
            ],
            'contrast': ['grass'],
            'colour': [1, 2, 3],
        },
        {'name': 'traffic_light'},
    ],
}


def written(tmp_path, content, name='said.json'):
    path = tmp_path / name
    path.write_text(json.dumps(content), encoding='utf-8')
    return path


def test_own_files_are_read_and_written_back(tmp_path):
    said = read_descriptions(written(tmp_path, OWN))
    okapi = said.of('OKAPI')
    assert okapi.sentences() == [
        ('an okapi in a forest', 2),
        # Whole words: "apple" does not begin with an article.
        ('okapi, which has apple green leaves around it', 1),
        ('a brown okapi', 1),
    ]
    assert (okapi.synonyms, okapi.contrast, okapi.color) == (
        ('forest giraffe',), ('grass',), (1, 2, 3),
    )  # fmt: skip
    assert said.of('traffic light').name == 'traffic_light'
    said.save(tmp_path / 'again.json')
    assert read_descriptions(tmp_path / 'again.json').classes == said.classes


def test_phrases_are_joined_by_their_letters_as_published():
    said = of_map(
        {'hen_house': ['an odd smell', 'canvas cover', 'usedom print', 'round lid'], 'egg': []},
        'descriptors',
    )
    assert [text for text, _ in said.of('hen house').sentences()] == [
        'hen house, which is an odd smell',
        'hen house, which canvas cover',
        'hen house, which is usedom print',
        'hen house, which has round lid',
    ]
    assert said.of('egg').sentences() == [('egg, which has ', 1.0)]


def test_sentences_stay_as_they_are_and_repeated_ones_weigh_more(tmp_path):
    sentences = {'hen': ['A hen is a bird.', 'A hen is a bird.', 'small and feathered']}
    torch.save(sentences, tmp_path / 'gpt4.pt')
    for path in (written(tmp_path, sentences), tmp_path / 'gpt4.pt'):
        assert read_descriptions(path).of('hen').sentences() == [
            ('A hen is a bird.', 2), ('small and feathered', 1),
        ]  # fmt: skip


def test_a_file_that_would_run_code_is_refused(tmp_path):
    import os

    torch.save({'hen': os.system}, tmp_path / 'bad.pt')
    with pytest.raises(UserError, match=r'bad\.pt'):
        read_descriptions(tmp_path / 'bad.pt')


def test_classes_take_what_is_said_of_them_and_the_rest_is_told(tmp_path):
    said = read_descriptions(written(tmp_path, OWN))
    vocabulary = Vocabulary.parse('sofa; okapi', Rejection('threshold', 0.2))
    with pytest.warns(Notice, match=r"1 of the 2 classes of .*not asked for.*'traffic_light'"):
        described = said.describe(vocabulary)
    assert described.rejection == vocabulary.rejection and described.names[1:] == ('sofa', 'okapi')
    assert described[2].prompts == ('okapi', 'forest giraffe')
    assert said.weights(described[2]) == [2, 1, 1]
    assert described[1] == vocabulary[1]


def test_descriptions_of_other_classes_are_refused():
    with pytest.raises(UserError, match=r"none of the classes 'cat'; it has 'hen'"):
        of_map({'hen': ['A hen.']}, 'file').describe(Vocabulary.parse('cat'))
    record = {'name': 'hen', 'synonyms': ['bird']}
    said = Descriptions(
        (*of_map({'cat': ['A cat.']}, 'f').classes, *read_from(record).classes), 'file'
    )
    with pytest.raises(UserError, match=r"makes 'bird' a word of 'hen', and it is one of 'cat'"):
        said.describe(Vocabulary.parse('cat, bird; hen'))


def read_from(record):
    from ovseg.vocabulary.descriptions import of_document

    return of_document({'format': FORMAT, 'classes': [record]}, 'file')


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({}, 'name of file: class 1 must be a string'),
        ({'name': 'hen', 'synonym': []}, "unknown key 'synonym'.*Did you mean 'synonyms'"),
        ({'name': 'hen', 'descriptions': 'A hen.'}, "descriptions of .*'hen' must be a list"),
        ({'name': 'hen', 'descriptions': ['']}, 'description 1 of .* is empty'),
        ({'name': 'hen', 'descriptions': [{'text': 'A hen.', 'weight': 0}]}, 'above 0, got 0'),
        ({'name': 'hen', 'descriptions': [{'text': 'A hen.', 'full': 'no'}]}, 'true or false'),
        ({'name': 'hen', 'colour': [1, 2]}, 'three integers'),
    ],
)
def test_bad_entries_are_named(record, message):
    with pytest.raises(UserError, match=message):
        read_from(record)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'map of class names'),
        ({'hen': [3]}, "descriptions of 'hen' must be a string or a list"),
        ({'format': 'descriptions/2'}, "is of format 'descriptions/2'"),
        ({'format': FORMAT, 'classes': []}, 'at least one class'),
        ({'a b': ['A hen.'], 'a_b': ['A hen.']}, "'a b' and 'a_b' are one class"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_descriptions(written(tmp_path, content))
