"""How large letters are, and where they fit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ovseg.visualization.lettering import letter_size, roomiest_place, write_inside


def test_letters_can_be_read_on_a_phone_and_are_bounded():
    # A phone shows the picture 390 points wide.
    for height, width in ((3000, 4000), (4000, 3000), (1080, 1440)):
        assert letter_size(height, width) * 390 / width > 11
    assert letter_size(1, 60000) == letter_size(60000, 1) == letter_size(100, 100) == 14
    assert letter_size(30000, 30000) == 200


@pytest.mark.parametrize('aspect', [1.0, 2.0, 5.5])
def test_the_roomiest_place_holds_the_rectangle(aspect):
    mask = np.zeros((120, 300), bool)
    mask[20:60, 30:270] = True
    mask[60:110, 40:60] = True
    x, y, height = roomiest_place(mask, aspect)
    width = aspect * height
    box = mask[
        round(y - height / 2 + 1) : round(y + height / 2 - 1),
        round(x - width / 2 + 2 * aspect) : round(x + width / 2 - 2 * aspect),
    ]
    assert box.size and box.all()
    assert height > 30


def test_the_widest_place_is_inside_even_where_the_centre_is_not():
    ring = np.ones((41, 41), bool)
    ring[10:35, 10:35] = False
    x, y, room = roomiest_place(ring)
    assert ring[y, x] and room == pytest.approx(10, abs=2)


@pytest.mark.parametrize('shape', [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_any_region_has_a_place(shape):
    x, y, _ = roomiest_place(np.ones(shape, bool), 8.0)
    assert 0 <= x < shape[1] and 0 <= y < shape[0]


def test_the_first_text_that_fits_is_written_inside():
    mask = np.zeros((100, 200), bool)
    mask[30:70, 20:90] = True
    canvas = Image.new('RGB', (400, 200))
    pen = ImageDraw.Draw(canvas)
    assert not write_inside(pen, mask, (0, 0), ['incomprehensibly', 'unpronounceable'], (14, 30), 2)
    assert not np.asarray(canvas).any()
    assert write_inside(pen, mask, (0, 0), ['incomprehensibly', 'dog'], (14, 30), 2)
    ink = np.asarray(canvas).any(-1)
    assert ink.any() and not ink[~mask.repeat(2, 0).repeat(2, 1)].any()
