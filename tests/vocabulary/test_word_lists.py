"""Lists as people write them: separators of any script, numbers, marks, tabs, and their bounds."""

from __future__ import annotations

import json
import unicodedata

import pytest

from ovseg.datasets import (
    ADE20K150Dataset,
    ADE847Dataset,
    CityscapesSegDataset,
    COCOObjectDataset,
    COCOStuff164kDataset,
    Context59Dataset,
    Context60Dataset,
    Context459Dataset,
    VOC20Dataset,
    VOC21Dataset,
)
from ovseg.errors import Notice, UserError
from ovseg.vocabulary import Vocabulary, get_templates
from ovseg.vocabulary.word_lists import COMMAS, LONGEST_WORD, MOST_WORDS, SEMICOLONS

DATA_SETS = [
    ADE20K150Dataset,
    ADE847Dataset,
    CityscapesSegDataset,
    COCOObjectDataset,
    COCOStuff164kDataset,
    Context59Dataset,
    Context60Dataset,
    Context459Dataset,
    VOC20Dataset,
    VOC21Dataset,
]


def prompts(source):
    return [item.prompts for item in Vocabulary.parse(source)]


def file_of(folder, content):
    file = folder / 'words.txt'
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize('semicolon', SEMICOLONS)
@pytest.mark.parametrize('comma', COMMAS)
def test_separators_of_every_script_separate(semicolon, comma):
    assert prompts(f'sky{comma} cloud{semicolon} sea') == [('sky', 'cloud'), ('sea',)]


def test_every_comma_of_unicode_is_known():
    letters = [chr(code) for code in range(0x10000)]
    for name, known in (('SEMICOLON', SEMICOLONS), ('COMMA', COMMAS)):
        missing = [
            letter
            for letter in letters
            if name in unicodedata.name(letter, '')
            and unicodedata.category(letter).startswith('P')
            and letter not in known
        ]
        assert not missing


def test_separators_mean_nothing_in_explicit_lists():
    assert prompts(['sky；sea', 'a，b']) == [('sky；sea',), ('a，b',)]


def test_a_file_of_one_line_may_separate_as_a_string_does(tmp_path):
    assert prompts(file_of(tmp_path, '天空；草地，草坪\n')) == [('天空',), ('草地', '草坪')]
    with pytest.raises(UserError, match=r'words.txt, line 1: class 2'):
        Vocabulary.parse(file_of(tmp_path, 'sky;;sea'))


@pytest.mark.parametrize(
    'text',
    [
        '\ufeff\r\n sky\r\n\r\nsea \t\r\n',
        'sky\rsea\r',
        '\n\n\tsky\n\u200b\nsea',
        'sky\u2028sea',
        '- sky\n- sea',
        '* sky\n• sea',
    ],
)
def test_marks_blank_lines_and_line_ends_do_not_count(tmp_path, text):
    assert Vocabulary.parse(text).names == ('sky', 'sea')
    assert Vocabulary.parse(file_of(tmp_path, text)).names == ('sky', 'sea')


def test_files_in_utf16_are_read(tmp_path):
    assert prompts(file_of(tmp_path, 'sky\r\nsea\r\n'.encode('utf-16'))) == [('sky',), ('sea',)]
    with pytest.raises(UserError, match='not UTF-8 text'):
        Vocabulary.parse(file_of(tmp_path, b'\xff\xfes'))


@pytest.mark.parametrize(
    'text',
    [
        '0: unlabeled\n1: person\n2: bicycle',
        '0:unlabeled\n1:person\n5:bicycle',
        '1. unlabeled\n2. person\n3. bicycle',
        '1) unlabeled\n2) person\n3) bicycle',
        '(1) unlabeled\n(2) person\n(3) bicycle',
        '0\tunlabeled\n1\tperson\n2\tbicycle',
        '0 unlabeled\n1 person\n12 bicycle',
        '0,unlabeled\n1,person\n2,bicycle',
        '0 - unlabeled\n1 - person\n2 - bicycle',
        '0： unlabeled\n1： person\n2： bicycle',
    ],
)
def test_numbers_before_words_are_left_out_and_said(tmp_path, text):
    for source in (text, text.replace('\n', '; '), file_of(tmp_path, text)):
        with pytest.warns(Notice, match=r'numbers before the words .* labels count from 0'):
            vocabulary = Vocabulary.parse(source)
        assert prompts(vocabulary) == [('unlabeled',), ('person',), ('bicycle',)]


@pytest.mark.parametrize(
    'text', ['7 dwarfs; 101 dalmatians', '12 cat', '1.5 m pole', 'sky; 1. FC', '3-d map; 2-d map']
)
def test_numbers_that_belong_to_words_stay(text, recwarn):
    assert Vocabulary.parse(text).names == tuple(text.split('; '))
    assert not recwarn.list


def test_a_list_that_is_numbered_in_part_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"class 3 \('dog'\) is not numbered.*'0: sky'"):
        Vocabulary.parse('0: sky; 1: sea; dog')
    with pytest.raises(UserError, match=r'words.txt: class 2 .* is not numbered'):
        Vocabulary.parse(file_of(tmp_path, '0: sky\nsea\n2: dog\n'))


def test_maps_of_numbers_to_names_are_numbered_lists(tmp_path):
    file = tmp_path / 'id2label.json'
    file.write_text(json.dumps({'10': 'sea', '2': 'sky'}))
    for source in (file, {10: 'sea', 2: 'sky'}):
        with pytest.warns(Notice, match='2 to 10'):
            assert Vocabulary.parse(source).names == ('sky', 'sea')
    with pytest.raises(UserError, match='two numbers of the map have one name'):
        Vocabulary.parse({0: 'sky', 1: 'sky'})


def test_underscores_are_blanks_to_the_model_and_stay_in_names():
    vocabulary = Vocabulary.parse('traffic_light, stop__light_; sky')
    assert vocabulary.names == ('traffic_light', 'sky')
    assert vocabulary[0].prompts == ('traffic light', 'stop light')
    assert Vocabulary.parse(vocabulary.format()) == vocabulary
    assert prompts(['traffic_light']) == [('traffic_light',)]
    with pytest.raises(UserError, match='nothing but punctuation'):
        Vocabulary.parse('___')


def test_a_list_that_reads_as_numbered_is_not_formatted():
    with pytest.raises(ValueError, match='to_json'):
        Vocabulary.parse(['1 cat', '2 dog']).format()


def test_tables_are_refused():
    with pytest.raises(UserError, match='has a tab in it'):
        Vocabulary.parse('cat\tkitten\ndog\tpuppy')


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('; '.join(f'w{number}' for number in range(100_000)), f'more than .*{MOST_WORDS}'),
        ([f'w{number}' for number in range(100_000)], '100000 words are more than'),
        ([[f'w{number}' for number in range(100_000)]], '100000 words are more than'),
        ({'a': [f'w{n}' for n in range(40_000)], 'b': [f'v{n}' for n in range(40_000)]}, '80000'),
        ('x' * 20_000, f'has 20000 letters, write at most {LONGEST_WORD}'),
        (['x' * 20_000], 'has 20000 letters'),
        ([{'name': 'x', 'description': 'sky ' * 5000}], 'has 20000 letters'),
        ('x' * 6_000_000, '6000000 letters are more'),
    ],
)
def test_more_than_can_be_asked_is_refused_before_work(source, message):
    with pytest.raises(UserError, match=message) as error:
        Vocabulary.parse(source)
    assert len(str(error.value)) < 300


def test_files_too_large_for_words_are_not_read(tmp_path):
    file = tmp_path / 'words.txt'
    with file.open('wb') as sparse:
        sparse.truncate(2**34)
    with pytest.raises(UserError, match=r'words.txt has \d+ bytes'):
        Vocabulary.parse(file)
    with pytest.raises(UserError, match=r'words.txt has \d+ bytes'):
        get_templates(file)


def test_templates_are_read_by_the_same_reader(tmp_path):
    file = tmp_path / 'templates.txt'
    file.write_bytes('a {}\r\n\r\n# comment\r\nthe {}'.encode('utf-16'))
    assert get_templates(file) == ('a {}', 'the {}')


@pytest.mark.parametrize(
    'color',
    [
        '[Infinity, 0, 0]',
        '[NaN, 0, 0]',
        '[1e400, 0, 0]',
        '[300, 0, 0]',
        '[-1, 0, 0]',
        '["x", 0, 0]',
        '["1", "2", "3"]',
        '[true, false, true]',
        '[0.5, 0, 0]',
        '[[1, 2, 3], 0, 0]',
        '"#ff0000"',
        '{"r": 1}',
        '7',
    ],
)
def test_colours_that_are_none_are_refused(tmp_path, color):
    file = tmp_path / 'words.json'
    for document in (
        f'{{"classes": [{{"name": "cat", "color": {color}}}]}}',
        f'{{"classes": ["cat"], "palette": [{color}]}}',
    ):
        file.write_text(document)
        with pytest.raises(UserError, match='must be three integers from 0 to 255') as error:
            Vocabulary.parse(file)
        assert str(file) in str(error.value)


@pytest.mark.parametrize('data_set', DATA_SETS, ids=lambda data_set: data_set.__name__)
def test_metainfo_of_every_data_set_gives_its_words_and_colours(data_set, recwarn):
    metainfo = data_set.METAINFO
    vocabulary = Vocabulary.parse(metainfo)
    assert vocabulary.names == tuple(metainfo['classes'])
    assert [tuple(color) for color in metainfo['palette']] == vocabulary.palette
    more = {'reduce_zero_label': True, 'thing_classes': ['cat'], 'seg_map_suffix': '.png'}
    assert Vocabulary.parse({**metainfo, **more}) == vocabulary
    assert not [warning for warning in recwarn.list if issubclass(warning.category, Notice)]
    with pytest.raises(UserError, match="unknown vocabulary setting 'colours'"):
        Vocabulary.parse({**metainfo, 'colours': []})
