"""Pictures of segments: shades, outlines, numbers, legends."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.regions.mask_segments import Segment
from ovseg.visualization import draw_segments, legend, lettering
from ovseg.visualization import segments as module

NAMES = ('sky', 'star')
PALETTE = ((0, 0, 255), (200, 100, 0))


def segment(number: int, label: int, area: int, box: tuple[int, int, int, int]) -> Segment:
    return Segment(number, label, 0.9, area, label == 1, box)


def two_stars(side: int = 60) -> tuple[np.ndarray, np.ndarray, list[Segment]]:
    """Grey image, sky below, two stars that touch above it, a corner of nothing."""
    half = side // 2
    ids = np.full((side, side), 1, np.int32)
    ids[:half, :half], ids[:half, half:] = 2, 3
    ids[-5:, -5:] = 0
    found = [
        segment(1, 0, half * side - 25, (0, half, side, half)),
        segment(2, 1, half * half, (0, 0, half, half)),
        segment(3, 1, half * half, (half, 0, half, half)),
    ]
    return np.full((side, side, 3), 100, np.uint8), ids, found


def test_segments_of_a_class_have_shades_and_outlines_in_its_pure_colour():
    image, ids, found = two_stars()
    picture = draw_segments(image, ids, found, NAMES, PALETTE, legend=False)
    assert picture.shape == image.shape
    first, second = picture[3, 3].tolist(), picture[3, -3].tolist()
    assert first == [150, 100, 50]
    assert second != first and second[0] > second[1] > second[2]
    assert picture[5, 29].tolist() == picture[5, 30].tolist() == [200, 100, 0]
    assert (picture[-3:, -3:] == 100).all()
    assert (image == 100).all()


def test_each_number_stands_inside_its_segment_light_with_a_dark_rim():
    image, ids, found = two_stars(200)
    blank = draw_segments(image, ids, found, NAMES, PALETTE, opacity=0, legend=False)
    for each in found:
        inside = ids == each.id
        assert (blank[inside] == 255).all(1).any(), each.id
        assert (blank[inside] == 0).all(1).any(), each.id
    # Both keep away from where the stars touch.
    assert not (blank[:80, 95:105] == 255).all(2).any()


@pytest.mark.parametrize('ground', [0, 255])
def test_numbers_can_be_read_on_any_ground(ground):
    image = np.full((400, 400, 3), ground, np.uint8)
    ids = np.ones((400, 400), np.int32)
    found = [segment(1, 0, 160000, (0, 0, 400, 400))]
    picture = draw_segments(image, ids, found, NAMES, PALETTE, opacity=0, legend=False)
    centre = picture[180:220, 180:220].astype(int)
    assert (np.abs(centre - ground) > 200).all(2).sum() > 20


def test_the_legend_lists_ids_and_shades_and_names_what_is_left(monkeypatch):
    listed = []
    monkeypatch.setattr(
        module, 'attach_legend', lambda picture, entries: listed.extend(entries) or picture
    )
    image, ids, found = two_stars()
    draw_segments(image, ids, found, NAMES, PALETTE)
    assert [(entry.text, entry.outline) for entry in listed] == [
        ('star (2, 3)', (200, 100, 0)),
        ('sky (1)', (0, 0, 255)),
        ('no segment', None),
    ]
    # As they look in the picture: on grey 100.
    plain = draw_segments(image, ids, found, NAMES, PALETTE, legend=False)
    assert listed[0].shades == (tuple(plain[3, 3]), tuple(plain[3, -3]))
    assert listed[0].color == listed[0].shades[0] and listed[2].color is None
    assert [entry.share for entry in listed] == pytest.approx([0.5, 1775 / 3600, 25 / 3600])


def test_many_ids_are_summed_up():
    assert module._id_list([1, 2, 4, 6, 7, 8]) == '1, 2, 4, 6-8'
    assert module._id_list(range(1, 24, 2)) == '1, 3, 5, 7 … 12 in all'


def test_names_stand_beside_the_ids_where_both_have_room(monkeypatch):
    written = []
    monkeypatch.setattr(lettering, 'write', lambda pen, place, text, size: written.append(text))
    ids = np.ones((480, 640), np.int32)
    ids[:30, :30] = 2
    found = [segment(1, 0, 1, (0, 0, 640, 480)), segment(2, 1, 900, (0, 0, 30, 30))]
    image = np.full((480, 640, 3), 100, np.uint8)
    draw_segments(image, ids, found, NAMES, PALETTE)
    assert written == ['sky 1', '2']


def test_small_pictures_are_enlarged_with_their_numbers():
    image, ids, found = two_stars()
    picture = draw_segments(image, ids, found, NAMES, PALETTE, opacity=0)
    assert picture.shape[1] == 480 and picture.shape[0] > 480
    for each in found:
        inside = (ids == each.id).repeat(8, 0).repeat(8, 1)
        assert (picture[:480][inside] == 255).all(1).any()


def test_an_image_without_segments_is_shown_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    nothing = np.zeros((30, 40), np.int32)
    assert (draw_segments(image, nothing, [], NAMES, PALETTE, legend=False) == image).all()
    assert draw_segments(image, nothing, [], NAMES, PALETTE).shape[0] >= 360


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'ids': np.zeros((4, 5), int)}, r'ids are \(4, 5\), but the image is \(60, 60\)'),
        ({'opacity': -1}, r'opacity must lie in \[0, 1\]'),
        ({'segments': []}, 'ids reach from 0 to 3, but there are 0 segments'),
    ],
)
def test_arguments_that_do_not_fit_are_named(changed, message):
    image, ids, found = two_stars()
    arguments = {'image': image, 'ids': ids, 'segments': found}
    with pytest.raises(ValueError, match=message):
        draw_segments(**{**arguments, **changed}, names=NAMES, palette=PALETTE)


def test_the_legend_keeps_all_ids_of_a_class_with_a_long_name(monkeypatch):
    """A long name is cut, the ids behind it are not."""
    seen = []
    monkeypatch.setattr(module, 'attach_legend', lambda picture, entries: seen.extend(entries))
    ids = np.repeat(np.arange(1, 9, dtype=np.int32), 80)[None].repeat(480, 0)
    found = [Segment(i, int(i == 5), 0.9, 80 * 480, True, (0, 0, 1, 1)) for i in range(1, 9)]
    image = np.zeros((480, 640, 3), np.uint8)
    draw_segments(image, ids, found, ['wall of old red bricks' * 3, 'cat'], [(200, 0, 0)] * 2)
    assert [entry.ids for entry in seen] == ['1-4, 6-8', '5']
    column = legend._measure(seen, 20)
    assert column.entries[0].text.endswith('… (1-4, 6-8)') and column.name_width <= 16 * 20


def test_a_segment_of_several_pieces_is_numbered_in_each_that_has_room(monkeypatch):
    written = []
    monkeypatch.setattr(lettering, 'write', lambda pen, place, text, size: written.append(place))
    ids = np.ones((600, 600), np.int32)
    ids[:, 200:260] = 2
    ids[100:500, 540:] = 2
    ids[590:, 20:25] = 2
    image = np.zeros((600, 600, 3), np.uint8)
    found = [segment(1, 0, 1, (0, 0, 1, 1)), segment(2, 1, 1, (0, 0, 1, 1))]
    draw_segments(image, ids, found, NAMES, PALETTE, legend=False)
    numbers = [int(ids[y, x]) for x, y in written]
    assert sorted(numbers) == [1, 1, 2, 2]
    assert {x > 400 for x, y in written if ids[y, x] == 2} == {True, False}
