from __future__ import annotations

import codecs

import pytest

from ovseg.errors import UserError
from ovseg.line_lists import lines_of, read_lines, without_suffix


@pytest.mark.parametrize(
    'data',
    [
        b'a b\nc.jpg\n',
        b'a b\r\nc.jpg\r\n\r\n',
        b'\xef\xbb\xbfa b  \n\n  c.jpg\t',
        b'a b\rc.jpg',
        codecs.BOM_UTF16_LE + 'a b\nc.jpg'.encode('utf-16-le'),
        b'# images\na b\n#\nc.jpg\n \n',
    ],
)
def test_lists_of_all_editors_hold_the_same_names(data, tmp_path):
    assert [name for _, name in lines_of(data, 'list.txt', 'images')] == ['a b', 'c.jpg']
    (tmp_path / 'list.txt').write_bytes(data)
    assert without_suffix(read_lines(tmp_path / 'list.txt', 'images'), '.jpg') == ['a b', 'c']


def test_other_letters_that_end_lines_belong_to_names():
    name = 'a\x0bb\u2028c#1'
    assert lines_of(name.encode(), 'x', 'images') == [(1, name)]
    assert lines_of(b'#1.jpg', 'x', 'images') == [(1, '#1.jpg')]


@pytest.mark.parametrize(
    'data, message',
    [
        (b'', 'list.txt names no images'),
        (b'\xef\xbb\xbf \n\n', 'list.txt names no images'),
        ('größe'.encode('latin-1'), 'another encoding than UTF-8 .*save it as UTF-8'),
        (b'a\0b', 'is no text file'),
    ],
)
def test_what_is_no_list_is_a_sentence(data, message, tmp_path):
    (tmp_path / 'list.txt').write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_lines(tmp_path / 'list.txt', 'images')


def test_a_missing_list_names_its_neighbour(tmp_path):
    (tmp_path / 'val.txt').write_text('a')
    with pytest.raises(
        FileNotFoundError, match="no file .*vall.txt of images.*Did you mean 'val.txt'"
    ):
        read_lines(tmp_path / 'vall.txt', 'images')
    with pytest.raises(UserError, match='is a folder; give a list of images'):
        read_lines(tmp_path, 'images')
