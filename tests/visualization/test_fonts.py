"""Fonts for class names in any script."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from ovseg.visualization import draw_overlay, fonts

STIX = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'STIXSizFourSymReg.ttf'


@pytest.fixture(autouse=True)
def only_the_shipped_font(monkeypatch):
    monkeypatch.setattr('matplotlib.font_manager.findSystemFonts', lambda: [])
    monkeypatch.delenv(fonts.FONT_VARIABLE, raising=False)
    for cached in (fonts._path_for, fonts.font_for):
        cached.cache_clear()
    fonts._said.clear()
    yield
    for cached in (fonts._path_for, fonts.font_for):
        cached.cache_clear()
    fonts._said.clear()


@pytest.mark.parametrize('name', ['кошка', 'γάτα', 'Straße', 'قطة'])
def test_letters_beyond_latin_are_drawn(name):
    font = fonts.font_for(name, 20)
    assert font.getmask(name).getbbox() is not None
    assert bytes(font.getmask(name)) != bytes(font.getmask('\uffff' * len(name)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert fonts.drawable(name, 'class 1') == name


@pytest.mark.parametrize(
    ('name', 'font'),
    [
        ('猫', 'Noto Sans CJK'),
        ('ねこ', 'Noto Sans CJK'),
        ('고양이', 'Noto Sans CJK'),
        ('बिल्ली', 'Noto Sans Devanagari'),
        ('🐈', 'Noto Emoji'),
    ],
)
def test_a_script_without_a_font_is_said_once_with_the_font_to_take(name, font):
    with pytest.warns(UserWarning, match=f"'class 7'.*such as {font}, or name .*OVSEG_FONT"):
        assert fonts.drawable(name, 'class 7') == 'class 7'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert fonts.drawable(name, 'class 7') == 'class 7'


def test_many_words_of_a_script_are_said_once():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        for number, name in enumerate(['天空', '草地', '水', 'बिल्ली']):
            assert fonts.drawable(name, f'class {number}') == f'class {number}'
    assert [str(each.message).partition('such as ')[2].partition(',')[0] for each in said] == [
        'Noto Sans CJK',
        'Noto Sans Devanagari',
    ]


def test_the_picture_shows_the_number_instead_of_boxes():
    image, labels = np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), int)
    colors = [(200, 0, 0)]
    with pytest.warns(UserWarning, match='no font here has the letters'):
        picture = draw_overlay(image, labels, ['猫'], colors)
    assert (picture == draw_overlay(image, labels, ['class 0'], colors)).all()


def test_a_font_can_be_named(monkeypatch, tmp_path):
    letter = chr(min(fonts._letters_of(str(STIX)) - fonts._letters_of(fonts._DEFAULT)))
    file = shutil.copy(STIX, tmp_path / 'mine.ttf')
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(file))
    assert fonts.drawable(letter, 'class 0') == letter
    assert fonts.font_for(letter, 20).path == str(file)


@pytest.mark.parametrize(
    ('content', 'message'), [(None, 'cannot be read as a font'), (b'no font', 'cannot be read')]
)
def test_a_named_font_that_does_not_help_is_said(monkeypatch, tmp_path, content, message):
    file = tmp_path / 'mine.ttf'
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(file))
    with pytest.warns(UserWarning, match=message):
        fonts.drawable('猫', 'class 0')


def test_a_named_font_without_the_letters_is_said(monkeypatch):
    monkeypatch.setenv(fonts.FONT_VARIABLE, fonts._DEFAULT)
    with pytest.warns(UserWarning, match='lacks them too, name the file of Noto Sans CJK'):
        fonts.drawable('猫', 'class 0')
