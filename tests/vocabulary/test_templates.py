"""Template sets, files of templates, articles."""

from __future__ import annotations

import pytest

from ovseg.errors import UserError
from ovseg.vocabulary import TEMPLATE_SETS, fill_template, get_templates


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('none', 1),
        ('single', 1),
        ('maskclip_npe', 1),
        ('a', 2),
        ('dinoiser', 1),
        ('dinoiser-laion', 2),
        ('vild-14', 14),
        ('openai-80', 80),
        ('maskclip-85', 85),
    ],
)
def test_every_set_has_its_size_and_no_repetition(name, size):
    templates = get_templates(name)
    assert len(templates) == len(set(templates)) == size
    assert name in TEMPLATE_SETS


def test_maskclip_adds_five_scenes_to_openai():
    assert get_templates('maskclip-85')[:80] == get_templates('openai-80')
    assert get_templates('openai-80')[0] == 'a bad photo of a {}.'
    assert get_templates('maskclip-85')[80:] == (
        'there is a {} in the scene.',
        'there is the {} in the scene.',
        'this is a {} in the scene.',
        'this is the {} in the scene.',
        'this is one {} in the scene.',
    )


def test_file_has_a_template_a_line(tmp_path):
    file = tmp_path / 'mine.txt'
    file.write_text('# mine\na painting of {}\n\n  the {}!\n')
    assert get_templates(file) == get_templates(str(file)) == ('a painting of {}', 'the {}!')


def test_list_and_single_string_are_taken_as_they_are():
    assert get_templates(['a {}', '{} here']) == ('a {}', '{} here')
    assert get_templates('a photo of {} /') == ('a photo of {} /',)


@pytest.mark.parametrize(
    ('word', 'article'),
    [
        ('apple', 'an'),
        ('cat', 'a'),
        ('unicorn', 'a'),
        ('umbrella', 'an'),
        ('uninteresting box', 'an'),
        ('hour glass', 'an'),
        ('house', 'a'),
        ('European', 'a'),
        ('Orange', 'an'),
        ('one-way sign', 'a'),
        ('onion', 'an'),
    ],
)
def test_article_follows_the_sound(word, article):
    assert fill_template('a(n) {}', word) == f'{article} {word}'
    assert fill_template('this is a(n) old {}', word) == f'this is an old {word}'


def test_words_with_braces_or_percent_are_not_formatted():
    assert fill_template('a {}', 'b{0} %s') == 'a b{0} %s'


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('openai80', "Did you mean 'openai-80'?"),
        ([], 'template list is empty'),
        (['a {}', 'a cat'], 'template 2 of template list must be a string with exactly one {}'),
        (['{} {}'], 'exactly one {}'),
        ([3], 'got 3'),
        (3, 'got 3'),
    ],
)
def test_bad_templates_are_named(source, message):
    with pytest.raises(UserError) as error:
        get_templates(source)
    assert message in str(error.value)


def test_bad_template_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='mine.txt does not exist'):
        get_templates(tmp_path / 'mine.txt')
    (tmp_path / 'mine.txt').write_bytes(b'\xff{}')
    with pytest.raises(UserError, match='mine.txt is not UTF-8'):
        get_templates(tmp_path / 'mine.txt')
    (tmp_path / 'mine.txt').write_text('# only this')
    with pytest.raises(UserError, match='mine.txt is empty'):
        get_templates(tmp_path / 'mine.txt')
