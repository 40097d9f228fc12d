"""Which images a path, a folder, a pattern or several of them mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ovseg.errors import UserError
from ovseg.images.finding import find_all_images, find_images
from ovseg.result_files import png_mark


def places(*patterns):
    return [image.place.as_posix() for image in find_all_images(patterns).images]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('photos/1.png', 'photos/a/2.png', 'photos/a/b/3.JPG', 'more/1.png'):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 3)).save(name)
    return tmp_path


def test_a_folder_is_read_with_the_folders_below_it(photos):
    assert [str(path) for path in find_images('photos')] == [
        'photos/1.png',
        'photos/a/2.png',
        'photos/a/b/3.JPG',
    ]
    assert places('photos') == ['1.png', 'a/2.png', 'a/b/3.JPG']


def test_places_are_those_below_what_was_asked_for(photos):
    assert places('photos/a/2.png') == ['2.png']
    assert places('photos/*/*') == ['a/2.png']
    assert places('photos/**/*.png') == ['1.png', 'a/2.png']
    assert places('photos/a/2.png', 'more/1.png', 'more/1.png') == ['1.png', '2.png']
    assert places('photos', 'more') == [
        'more/1.png',
        'photos/1.png',
        'photos/a/2.png',
        'photos/a/b/3.JPG',
    ]
    assert places('photos/1.png', 'more/1.png') == ['more/1.png', 'photos/1.png']


def test_own_pictures_are_left_out_unless_named_alone(photos):
    Image.new('RGB', (4, 3)).save('photos/x.png', pnginfo=png_mark('overlay'))
    Image.new('RGB', (4, 3)).save('photos/1_overlay.png')
    found = find_all_images(['photos'])
    assert [path.name for path in found.left_out] == ['x.png']
    assert len(found.images) == 4
    assert places('photos/x.png') == ['x.png']
    assert 'x.png' not in places('photos/x.png', 'photos/1.png')
    with pytest.raises(FileNotFoundError, match='no images but 1 pictures that ovseg made itself'):
        find_images('photos/x*')


def test_pipes_and_names_that_are_too_long_are_said(photos):
    os.mkfifo('pipe.png')
    with pytest.raises(UserError, match='pipe.png is no image but a pipe or a device'):
        find_images('pipe.png')
    with pytest.raises(FileNotFoundError, match='There is no image nnn'):
        find_images('n' * 5000)
