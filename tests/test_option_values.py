from __future__ import annotations

import argparse

import pytest
from mmengine.config import DictAction

from ovseg.errors import UserError
from ovseg.option_values import OptionsAction, read_value


@pytest.mark.parametrize(
    'text',
    [
        *(
            '1',
            '-2',
            '1.5',
            '1e-3',
            'true',
            'False',
            'None',
            '',
            'word',
            'a=b',
            'C:\\new\\t',
            "it's",
        ),
        *(
            '1,2',
            '1,2,',
            'a,b',
            'a, b',
            ',a',
            '[]',
            '()',
            '(1)',
            '(1,)',
            '[1,2]',
            '[ (1, 2), [a] ]',
        ),
        *('[(1,2),[a,b],c]', '[a,,b]', '"[1,2]"', '[None,True,1.0]', '1,[2,3]', "[dog's, cat's]"),
    ],
)
def test_what_mmengine_reads_without_loss_is_read_alike(text):
    value, theirs = read_value(text), DictAction._parse_iterable(text)
    assert value == theirs and type(value) is type(theirs)


@pytest.mark.parametrize(
    'text',
    [
        *('wooden floor', '/my data', ' x ', "dogs'", 'C:\\my data\\a.png', 'a photo of a {}.'),
        *(
            'a photo of a {}, seen from far',
            '{word}',
            '(a) and (b)',
            'a (b, c',
            'k=v w=x',
            'sky; sea',
        ),
        *('100%', '#1', '"', "rock'n'roll", 'a]', 'größe/ä b.png'),
    ],
)
def test_text_arrives_as_typed(text):
    assert read_value(text) == text


@pytest.mark.parametrize(
    'text, value',
    [
        ("'a, b'", 'a, b'),
        ('"5"', '5'),
        ("'None'", 'None'),
        ('"it\'s {}, here"', "it's {}, here"),
        ("''", ''),
        ("['wooden floor', 'a, b', 3]", ['wooden floor', 'a, b', 3]),
        ('[wooden floor, brick wall]', ['wooden floor', 'brick wall']),
        ("['a photo of a {}.', 'one, {}']", ['a photo of a {}.', 'one, {}']),
        ('[a photo of a {}., the {}]', ['a photo of a {}.', 'the {}']),
        ('a {},b {}', ['a {}', 'b {}']),
        ('wooden floor,brick wall', ['wooden floor', 'brick wall']),
        ("[('a b', 1), None]", [('a b', 1), None]),
        ('[[1,2],[3,4]],[5]', [[[1, 2], [3, 4]], [5]]),
        ("{'a b': [1, (2, 3)], 'c': None}", {'a b': [1, (2, 3)], 'c': None}),
        (
            "[{'type': 'A', 'at': (1, 2.5)}, {'type': 'B'}]",
            [dict(type='A', at=(1, 2.5)), dict(type='B')],
        ),
        ('{}', {}),
    ],
)
def test_quotes_brackets_and_braces(text, value):
    assert read_value(text) == value


def test_what_a_setting_takes_decides_on_commas_and_numbers():
    assert read_value('a, b', 'text') == 'a, b' and read_value('007', 'text') == '007'
    assert read_value('None', 'text or other') is None
    assert read_value('sky, far', 'text or other') == 'sky, far'
    assert read_value('1,2', 'text or other') == [1, 2]
    assert read_value('{}', 'text or list') == '{}' and read_value('a, b', 'text or list') == [
        'a',
        'b',
    ]


@pytest.mark.parametrize('text', ['[1,2', '(a, b', '[{type: A}]', "dict(type='A', x=1)"])
def test_what_cannot_be_read_is_a_sentence(text):
    with pytest.raises(UserError, match='--cfg-options cannot read'):
        read_value(text)


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    return parser.parse_args(words).cfg_options


def test_the_option_may_be_repeated_and_the_first_equals_sign_divides():
    options = parse('--cfg-options', 'a.b=x=y', 'c=1', '--cfg-options', 'c=2', 'd=')
    assert options == {'a.b': 'x=y', 'c': 2, 'd': ''}
    options.read_as(lambda key: 'text')
    assert options == {'a.b': 'x=y', 'c': '2', 'd': ''}


@pytest.mark.parametrize('word', ['model', '=1', 'model..a=1'])
def test_a_word_that_is_no_setting_is_a_usage_error(word, capsys):
    with pytest.raises(SystemExit) as stop:
        parse('--cfg-options', word)
    assert stop.value.code == 2 and f"KEY=VALUE, got '{word}'" in capsys.readouterr().err
