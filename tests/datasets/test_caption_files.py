"""Captions are read from COCO's form and from a plain table."""

import json

import pytest

from ovseg.datasets.caption_files import read_captions
from ovseg.errors import UserError

COCO = {
    'images': [{'id': 7, 'file_name': 'a.jpg'}, {'id': 9, 'file_name': 'b.jpg'}],
    'annotations': [
        {'image_id': 7, 'caption': 'A dog. '},
        {'image_id': 7, 'caption': 'A brown dog.'},
    ],
}


def write(folder, content):
    path = folder / 'captions.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_cocos_captions_go_to_their_images(tmp_path):
    assert read_captions(write(tmp_path, COCO)) == {'a.jpg': ['A dog.', 'A brown dog.']}


def test_a_table_gives_one_caption_or_several(tmp_path):
    path = write(tmp_path, {'x/a.png': 'a star', 'b.png': ['sky', 'a red sky'], 'c.png': []})
    assert read_captions(path) == {'x/a.png': ['a star'], 'b.png': ['sky', 'a red sky']}


@pytest.mark.parametrize(
    'content',
    [
        '{',
        [1, 2],
        {},
        {'a.png': [3]},
        {**COCO, 'annotations': [{'image_id': 1, 'caption': 'x'}]},
        {**COCO, 'annotations': []},
    ],
)
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(UserError, match='holds no captions|is no valid JSON'):
        read_captions(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        read_captions(tmp_path / 'nowhere.json')
