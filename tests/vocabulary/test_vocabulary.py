"""Vocabularies: the syntax for people, files, data sets' lists, rejection rules, errors."""

from __future__ import annotations

import json

import pytest
from mmengine import ConfigDict

from ovseg.errors import UserError
from ovseg.vocabulary import Rejection, Vocabulary, VocabularyClass, build_vocabulary


def prompts(vocabulary):
    return [item.prompts for item in vocabulary]


def test_classes_by_semicolon_and_synonyms_by_comma():
    vocabulary = Vocabulary.parse(' cat,  young   kitten; sofa ')
    assert vocabulary.names == ('cat', 'sofa')
    assert prompts(vocabulary) == [('cat', 'young kitten'), ('sofa',)]


def test_newlines_separate_classes_and_blank_lines_do_not_count():
    assert Vocabulary.parse('cat\n\n  sofa; wall\n').names == ('cat', 'sofa', 'wall')


def test_text_file_has_a_class_a_line_and_comments(tmp_path):
    file = tmp_path / 'words.txt'
    file.write_text('\ufeff# animals\ncat, kitten # small\n\nC# book\n', encoding='utf-8')
    for source in (file, str(file)):
        assert prompts(Vocabulary.parse(source)) == [('cat', 'kitten'), ('C# book',)]


def test_list_entries_are_explicit_so_commas_and_blanks_stay():
    vocabulary = Vocabulary.parse(['bed ', 'building, edifice', ['tv', 'screen, monitor']])
    assert vocabulary.names == ('bed ', 'building, edifice', 'tv')
    assert prompts(vocabulary) == [('bed ',), ('building, edifice',), ('tv', 'screen, monitor')]


def test_metainfo_keeps_names_and_palette():
    metainfo = {
        'classes': ('bed ', 'building, edifice'),
        'palette': [[1, 2, 3], [4, 5, 6]],
        'label_map': None,
        'reduce_zero_label': True,
    }
    vocabulary = Vocabulary.parse(metainfo)
    assert vocabulary.names == metainfo['classes']
    assert vocabulary.palette == [(1, 2, 3), (4, 5, 6)]


def test_map_of_names_to_prompts():
    vocabulary = Vocabulary.parse({'cat': ['a tabby', 'kitten'], 'sofa': 'couch'})
    assert vocabulary.names == ('cat', 'sofa')
    assert prompts(vocabulary) == [('a tabby', 'kitten'), ('couch',)]


def test_json_records_carry_prompts_descriptions_colours_and_background(tmp_path):
    file = tmp_path / 'words.json'
    document = {
        'classes': [
            {'name': 'cat', 'prompts': ['cat', 'kitten'], 'color': [9, 8, 7]},
            {'name': 'okapi', 'description': 'A striped animal of the forest.'},
            'sofa',
        ],
        'background': ['wall', 'floor'],
        'threshold': 0.3,
    }
    file.write_text(json.dumps(document))
    vocabulary = Vocabulary.parse(file)
    assert vocabulary.names == ('background', 'cat', 'okapi', 'sofa')
    assert prompts(vocabulary) == [('wall', 'floor'), ('cat', 'kitten'), (), ('sofa',)]
    assert vocabulary[2].descriptions == ('A striped animal of the forest.',)
    assert vocabulary.palette[1] == (9, 8, 7)
    assert vocabulary.rejection == Rejection('background', 0.3, ('wall', 'floor'))


def test_json_threshold_alone_makes_a_background_without_words(tmp_path):
    file = tmp_path / 'words.json'
    file.write_text('{"classes": ["cat"], "threshold": 0.3}')
    vocabulary = Vocabulary.parse(file)
    assert prompts(vocabulary) == [(), ('cat',)]
    assert vocabulary.background_index == 0


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('', 'the vocabulary is empty'),
        (' \n ', 'the vocabulary is empty'),
        ('cat;;dog', "class 2 (after 'cat') is empty"),
        (';cat', 'class 1 is empty'),
        ('cat;', "class 2 (after 'cat') is empty"),
        ('cat, ,kitten', 'word 2 of class 1'),
        ('cat; dog; Cat', "'Cat' stands in class 1 and in class 3"),
        ('cat, kitten; kitten', "'kitten' stands in class 1 and in class 2"),
        ('cat, CAT', "class 'cat' lists 'CAT' twice"),
        ('cat; ...', "word 1 of class 2 '...' is nothing but punctuation"),
        ('cat; a photo of a.', "'a photo of a.' is nothing but template text"),
        ('a photo of a {}.; cat', 'is a template'),
        ('a\udcff', 'not valid Unicode'),
        ([], 'the vocabulary is empty'),
        (['cat', 3], 'class 2 must be a string or a list of strings, got 3'),
        (
            ['cat', ['dog', None]],
            "class 2 must be a string or a list of strings, got ['dog', None]",
        ),
        (['cat', []], 'class 2 has no words'),
        (['cat', ' '], 'class 2 is empty'),
        (['cat', 'cat'], "duplicate class 'cat' at index 0 and 1"),
        ({'cat': []}, "class 1, 'cat', has no words"),
        ({'classes': 5}, 'classes must be a list'),
        ({'classes': ['cat'], 'treshold': 0.2}, "Did you mean 'threshold'?"),
        ({'classes': [{'name': 'cat', 'colour': [0, 0, 0]}]}, "Did you mean 'color'?"),
        ({'classes': [{'prompts': ['cat']}]}, 'name of class 1 must be a string'),
        ({'classes': [{'name': 'cat', 'color': [0, 0, 256]}]}, "color of class 'cat' must be"),
        ({'classes': [{'name': 'cat', 'color': 'red'}]}, "color of class 'cat' must be"),
        ({'classes': ['cat', 'dog'], 'palette': [[0, 0, 0]]}, 'got 1 for 2'),
        (
            {'classes': ['cat'], 'threshold': 0.2, 'rejection': {'kind': 'none'}},
            "either 'rejection' or 'background' and 'threshold'",
        ),
        (7, 'got int 7'),
        (None, 'got NoneType None'),
    ],
)
def test_errors_name_the_offending_entry(source, message):
    with pytest.raises(UserError) as error:
        Vocabulary.parse(source)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('words.txt', b'# nothing\n', 'is empty, write one class a line'),
        ('words.txt', b'cat\ndog; wolf\n', "line 2 has a ';'"),
        ('words.txt', b'cat\n\ndog,,wolf\n', 'line 3'),
        ('words.txt', b'cat\xff\n', 'is not UTF-8 text'),
        ('words.json', b'{"classes": [', 'is not valid JSON'),
        ('words.json', b'{"cat": ["cat"], "cat": ["dog"]}', "duplicate entry 'cat'"),
        ('words.json', b'{"classes": ["cat", 1]}', 'words.json: class 2 must be a string'),
        ('words.json', b'3', 'classes must be a list'),
    ],
)
def test_errors_in_files_name_the_file(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        Vocabulary.parse(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_missing_file_is_not_taken_for_a_word():
    with pytest.raises(FileNotFoundError, match='nowhere.txt does not exist.*plain words'):
        Vocabulary.parse('nowhere.txt')


def test_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match='must end in .txt or .json'):
        Vocabulary.parse(tmp_path / 'words.csv')
    (tmp_path / 'words.csv').write_text('cat')
    with pytest.raises(UserError, match='must end in .txt or .json'):
        Vocabulary.parse(str(tmp_path / 'words.csv'))
    assert Vocabulary.parse('v1.0 ' + 'x' * 5000).names == ('v1.0 ' + 'x' * 5000,)


def test_ordinary_words_that_look_like_templates_pass():
    names = ('photo', 'vitamin a', 'the one', 'a toy', '北京', '\U0001f431', 'U.S. flag')
    assert Vocabulary.parse('; '.join(names)).names == names


def test_threshold_puts_a_background_without_words_at_index_zero():
    vocabulary = Vocabulary.parse('cat; dog', Rejection('threshold', 0.4))
    assert vocabulary.names == ('background', 'cat', 'dog')
    assert prompts(vocabulary)[0] == ()
    assert vocabulary.palette[0] == (0, 0, 0)
    assert vocabulary.background_index == 0
    assert len(vocabulary) == len(vocabulary.palette) == 3


def test_threshold_uses_a_background_that_the_list_starts_with():
    vocabulary = Vocabulary.parse('Background; cat', Rejection('threshold', 0.4))
    assert vocabulary.names == ('Background', 'cat')


def test_background_words_become_class_zero():
    vocabulary = Vocabulary.parse('cat', {'kind': 'background', 'words': ['wall', 'sky']})
    assert prompts(vocabulary) == [('wall', 'sky'), ('cat',)]


def test_class_zero_adds_nothing():
    vocabulary = Vocabulary.parse('wall, sky; cat', 'class_zero')
    assert vocabulary.names == ('wall', 'cat')
    assert vocabulary.background_index == 0


def test_no_rule_has_no_background():
    assert Vocabulary.parse('cat').background_index is None


def test_changing_the_rule_takes_the_old_background_away():
    vocabulary = Vocabulary.parse('cat', Rejection('background', words=('wall',)))
    assert vocabulary.with_rejection(None) == Vocabulary.parse('cat')
    assert vocabulary.with_rejection(Rejection('threshold', 0.1)).names == ('background', 'cat')
    assert Vocabulary.parse(vocabulary, 'none').names == ('cat',)


def test_the_smallest_area_is_part_of_the_rule_in_words_and_on_disk(tmp_path):
    rule = Rejection('class_zero', 0.1, min_area=0.05)
    assert rule.describe().endswith('below 0.1; classes of at most 5% of the foreground')
    vocabulary = Vocabulary.parse('background; cat', rule)
    vocabulary.save(tmp_path / 'words.json')
    assert Vocabulary.parse(tmp_path / 'words.json').rejection == rule


def test_parsing_a_vocabulary_returns_it():
    vocabulary = Vocabulary.parse('cat', Rejection('threshold', 0.1))
    assert Vocabulary.parse(vocabulary) is vocabulary


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'kind': 'treshold'}, "Did you mean 'threshold'?"),
        ({'kind': 'threshold', 'threshold': 1.5}, 'from 0 to 1, got 1.5'),
        ({'kind': 'threshold', 'threshold': float('nan')}, 'from 0 to 1, got nan'),
        ({'kind': 'threshold', 'threshold': '0.5'}, "from 0 to 1, got '0.5'"),
        ({'threshold': 0.5}, "got kind 'none'"),
        ({'min_area': 0.1}, "rejection min_area 0.1 needs kind 'threshold'"),
        ({'kind': 'class_zero', 'min_area': 1.0}, 'from 0 to below 1, got 1.0'),
        ({'kind': 'class_zero', 'words': ['wall']}, "got kind 'class_zero'"),
        ({'kind': 'background'}, 'at least one word'),
        ({'kind': 'background', 'word': ['wall']}, "Did you mean 'words'?"),
        (0.3, 'must be a dict'),
    ],
)
def test_rejection_rules_that_contradict_themselves_are_refused(fields, message):
    with pytest.raises(UserError) as error:
        Rejection.build(fields)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ('words', 'rejection', 'message'),
    [
        ('background; cat', Rejection('background', words=('wall',)), "'class_zero'"),
        ('cat; background', Rejection('threshold', 0.3), 'the rejection rule puts its own'),
        ('cat', Rejection('background', words=('wall', '')), "prompt of class 'background'"),
    ],
)
def test_rules_that_do_not_fit_the_list_are_refused(words, rejection, message):
    with pytest.raises(UserError) as error:
        Vocabulary.parse(words, rejection)
    assert message in str(error.value)


def test_saved_json_reads_back_equal(tmp_path):
    vocabulary = Vocabulary(
        [
            VocabularyClass('bed ', ('bed ',), (1, 2, 3)),
            VocabularyClass('building, edifice', ('building, edifice', 'Haus; höher #1')),
            VocabularyClass('okapi', (), None, ('A striped animal.',)),
        ],
        Rejection('background', 0.25, ('wall',)),
    )
    vocabulary.save(tmp_path / 'words.json')
    assert Vocabulary.parse(tmp_path / 'words.json') == vocabulary
    assert [path.name for path in tmp_path.iterdir()] == ['words.json']


def test_vocabularies_differ_by_words_and_by_rule():
    vocabulary = Vocabulary.parse('cat; dog')
    assert vocabulary != Vocabulary.parse('cat, kitten; dog')
    assert vocabulary != vocabulary.with_rejection('class_zero')
    assert hash(vocabulary) == hash(Vocabulary.parse(['cat', 'dog']))
    assert vocabulary != 'cat; dog'


def test_config_entries_build_vocabularies():
    assert build_vocabulary(None) is None
    assert build_vocabulary('cat; dog').names == ('cat', 'dog')
    rule = {'kind': 'threshold', 'threshold': 0.5}
    assert build_vocabulary({'classes': ['cat'], 'rejection': rule}).names == ('background', 'cat')
    assert build_vocabulary({'classes': ['cat'], 'rejection': rule}, 'none').names == ('cat',)


def test_mmengine_config_nodes_are_read_like_dicts():
    cfg = ConfigDict(
        text={
            'classes': ['cat', {'name': 'dog', 'color': [1, 2, 3]}],
            'rejection': {'kind': 'none'},
        }
    )
    assert build_vocabulary(cfg.text).palette[1] == (1, 2, 3)
    cfg = ConfigDict(dataset='voc21', protocol='sclip', rejection={'kind': 'none'})
    assert build_vocabulary(cfg) == Vocabulary.from_protocol('voc21', 'sclip', 'none')


def test_thousands_of_classes_get_colours_of_their_own():
    vocabulary = Vocabulary.parse([f'thing {number}' for number in range(3000)])
    assert len(set(vocabulary.palette)) == 3000
    assert '3000 in all' in repr(vocabulary)


@pytest.mark.parametrize(
    ('rule', 'words'),
    [
        (Rejection(), 'none'),
        (Rejection('threshold', 0.25), 'best probability below 0.25'),
        (Rejection('background', words=('wall', 'sky')), 'the words wall, sky'),
        (
            Rejection('class_zero', 0.1),
            'class 0, the best of its words; best probability below 0.1',
        ),
    ],
)
def test_a_rejection_rule_is_told_in_words(rule, words):
    assert rule.describe() == words


@pytest.mark.parametrize('words', [('Sky',), ('wall', 'clouds')])
def test_a_word_of_a_class_and_of_the_background_is_refused(words):
    with pytest.raises(UserError, match="is a word of class 'sky' and of the background"):
        build_vocabulary('sky, clouds; grass', Rejection('background', words=words))
