"""Overlays and their legends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg.visualization import class_shares, draw, draw_overlay, lettering, paint
from ovseg.visualization.legend import LegendEntry, attach_legend, format_share

PALETTE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
NAMES = ['red star', 'grass', 'sky']


def halves(height: int, width: int) -> np.ndarray:
    labels = np.zeros((height, width), np.int64)
    labels[:, width // 2 :] = 1
    return labels


def test_paint_is_mixed_with_the_image_and_the_outline_is_pure():
    image = np.full((20, 20, 3), 100, np.uint8)
    picture = draw_overlay(image, halves(20, 20), NAMES, PALETTE, legend=False)
    assert picture.shape == (20, 20, 3)
    assert picture[5, 2].tolist() == [178, 50, 50]
    assert picture[5, 17].tolist() == [50, 178, 50]
    assert picture[5, 9].tolist() == [255, 0, 0]
    assert picture[5, 10].tolist() == [0, 255, 0]


def test_background_and_unknown_labels_stay_unpainted():
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    labels = np.zeros((30, 30), np.int64)
    labels[:, 10:20] = 1
    labels[:, 20:] = 255
    picture = draw_overlay(image, labels, NAMES, PALETTE, background_index=0, legend=False)
    assert (picture[:, :10] == image[:, :10]).all()
    assert (picture[:, 20:] == image[:, 20:]).all()
    assert (picture[:, 12:18] != image[:, 12:18]).any()


def test_the_image_itself_is_not_changed():
    image = np.full((20, 20, 3), 100, np.uint8)
    draw_overlay(image, halves(20, 20), NAMES, PALETTE)
    assert (image == 100).all()


@pytest.mark.parametrize('size', [(480, 640), (200, 1600), (1600, 480)])
def test_legend_stands_below(size):
    picture = draw_overlay(np.zeros((*size, 3), np.uint8), halves(*size), NAMES, PALETTE)
    assert picture.shape[0] > size[0]
    assert picture.shape[1] == size[1]


def test_legend_stands_beside_a_picture_that_is_narrower_than_it():
    picture = draw_overlay(np.zeros((1600, 60, 3), np.uint8), halves(1600, 60), NAMES, PALETTE)
    assert picture.shape[0] == 1600
    assert picture.shape[1] > 60


def test_paint_keeps_its_hue_on_a_ground_of_another():
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 200
    picture = draw_overlay(red, halves(20, 20), NAMES, PALETTE, legend=False)
    # Below green there is no red left, only its lightness.
    assert picture[5, 17, 0] == picture[5, 17, 2] < picture[5, 17, 1]
    unpainted = draw_overlay(red, halves(20, 20), NAMES, PALETTE, opacity=0, legend=False)
    assert unpainted[5, 2].tolist() == [200, 0, 0]


def recorded_legend(monkeypatch) -> list[LegendEntry]:
    """What the next picture's legend lists."""
    listed: list[LegendEntry] = []
    monkeypatch.setattr(
        draw, 'attach_legend', lambda picture, entries: listed.extend(entries) or picture
    )
    return listed


@pytest.mark.parametrize('opacity', [0.3, 0.5, 1.0])
def test_legend_colours_are_those_of_the_picture(monkeypatch, opacity):
    listed = recorded_legend(monkeypatch)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    image[:, 320:] //= 4
    labels = halves(480, 640)
    draw_overlay(image, labels, NAMES, PALETTE, opacity=opacity)
    plain = draw_overlay(image, labels, NAMES, PALETTE, opacity=opacity, legend=False)
    for index, columns in enumerate((slice(5, 310), slice(330, 635))):
        seen = plain[5:-5, columns].reshape(-1, 3).mean(0)
        assert listed[index].name == NAMES[index]
        assert np.abs(np.subtract(listed[index].color, seen)).max() < 3
        assert listed[index].outline == PALETTE[index]


def letters_in(picture: np.ndarray) -> np.ndarray:
    return (picture == 255).all(-1)


def test_names_are_written_into_the_regions_that_have_room():
    labels = halves(480, 640)
    labels[:40, :12] = 2
    image = np.full((480, 640, 3), 100, np.uint8)
    picture = draw_overlay(image, labels, NAMES, PALETTE)[:480]
    letters = letters_in(picture)
    assert letters[:, :320].any() and letters[:, 320:].any()
    assert not letters[:40, :12].any()
    # A name stays in its region.
    assert not letters[:, 310:330].any()
    assert not letters_in(draw_overlay(image, labels, NAMES, PALETTE, legend=False)).any()


def test_the_background_is_not_named():
    picture = draw_overlay(
        np.full((480, 640, 3), 100, np.uint8), halves(480, 640), NAMES, PALETTE, 0
    )
    letters = letters_in(picture[:480])
    assert not letters[:, :320].any() and letters[:, 320:].any()


def test_a_name_takes_two_lines_where_one_does_not_fit(monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(lettering, 'write', lambda pen, place, text, size: written.append(text))
    image = np.zeros((480, 640, 3), np.uint8)
    labels = np.zeros((480, 640), int)
    labels[100:300, 100:220] = 1
    draw_overlay(image, labels, ['sky', 'orange mushroom'], PALETTE[:2])
    assert written == ['sky', 'orange\nmushroom']


@pytest.mark.parametrize(
    'labels',
    [
        np.full((30, 40), 255, np.uint8),
        np.full((30, 40), -1),
        np.full((30, 40), 10**12),
        np.tri(30, 40, dtype=np.uint8) * 255,
    ],
)
def test_labels_that_are_no_class_have_no_name_and_no_line(labels):
    image = np.full((30, 40, 3), 90, np.uint8)
    picture = draw_overlay(image, labels, NAMES, PALETTE)
    if (labels == 0).any():
        assert picture.shape[0] > 360 and letters_in(picture[:360]).any()
    else:
        assert picture.shape == (360, 480, 3) and (picture == 90).all()


def test_a_region_of_one_pixel_in_a_large_picture_has_its_painted_colour():
    image = np.full((1500, 2000, 3), 100, np.uint8)
    labels = np.zeros((1500, 2000), int)
    labels[701, 1001] = 1
    colors = paint.painted_colors(image, labels, PALETTE, 0.5)
    assert colors == [(178, 50, 50), (50, 178, 50), PALETTE[2]]


@pytest.mark.parametrize('size', [(1, 60000), (60000, 1), (3, 20000)])
def test_long_strips_get_small_letters_and_small_pictures(size):
    labels = np.zeros(size, int)
    picture = draw_overlay(np.zeros((*size, 3), np.uint8), labels, NAMES, PALETTE)
    assert picture.nbytes < 200 * 60000 * 3


def test_small_pictures_are_enlarged_by_a_whole_factor_only_with_a_legend():
    image = np.zeros((50, 64, 3), np.uint8)
    enlarged = draw_overlay(image, halves(50, 64), NAMES, PALETTE)
    assert enlarged.shape[1] == 64 * 8 and enlarged.shape[0] > 50 * 8
    assert draw_overlay(image, halves(50, 64), NAMES, PALETTE, legend=False).shape == (50, 64, 3)


def test_letters_grow_with_the_picture():
    def ink(size: int) -> float:
        picture = draw_overlay(
            np.zeros((size, size, 3), np.uint8), halves(size, size), NAMES, PALETTE
        )
        panel = picture[size:]
        return (panel.min(axis=2) < 100).sum() / size**2

    assert ink(3000) == pytest.approx(ink(1000), rel=0.3)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    classes=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_any_size_and_number_of_classes_gives_a_picture_that_holds_the_image(
    height, width, classes, seed
):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, (height, width))
    names = [f'class {index}' for index in range(classes)]
    palette = generator.integers(0, 256, (classes, 3)).tolist()
    image = np.zeros((height, width, 3), np.uint8)
    picture = draw_overlay(image, labels, names, palette)
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= height
    assert picture.shape[1] >= width
    assert picture.shape[0] > height or picture.shape[1] > width


def test_more_classes_than_lines_are_summed_up(monkeypatch):
    drawn: list[str] = []
    import ovseg.visualization.legend as legend

    draw_swatch = legend._draw_swatch

    def record(pen, left, middle, size, entry):
        drawn.append(entry.name)
        draw_swatch(pen, left, middle, size, entry)

    monkeypatch.setattr(legend, '_draw_swatch', record)
    entries = [LegendEntry(f'class {i}', (i, 0, 0), 1 / 200) for i in range(200)]
    attach_legend(np.zeros((480, 640, 3), np.uint8), entries)
    assert drawn[0] == 'class 0'
    assert drawn[-1] == f'+{200 - len(drawn) + 1} more'
    assert len(drawn) > 20


def test_names_too_long_for_a_line_are_cut_with_an_ellipsis():
    entries = [LegendEntry('a very long name ' * 20, (255, 0, 0), 1.0)]
    picture = attach_legend(np.zeros((480, 640, 3), np.uint8), entries)
    assert picture.shape[1] < 2 * 640


def test_shares_are_sorted_and_leave_unknown_labels_out():
    labels = np.array([[2, 2, 2, 2], [1, 1, 0, 255]])
    assert class_shares(labels, 3) == [(2, 0.5), (1, 0.25), (0, 0.125)]


@pytest.mark.parametrize(
    ('share', 'text'),
    [(0.0, '0.0 %'), (0.00001, '<0.1 %'), (0.5, '50.0 %'), (0.9999, '100 %'), (1.0, '100 %')],
)
def test_share_is_written_for_people(share, text):
    assert format_share(share) == text


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'image': np.zeros((4, 4), np.uint8)}, r'image must be \(H, W, 3\) uint8'),
        ({'image': np.zeros((4, 4, 3), float)}, 'float64'),
        ({'labels': np.zeros((4, 5), int)}, r'labels are \(4, 5\), but the image is \(4, 4\)'),
        ({'names': ['a']}, '1 names, but 3 colours'),
        ({'opacity': 1.5}, r'opacity must lie in \[0, 1\]'),
    ],
)
def test_arguments_that_do_not_fit_are_named(changed, message):
    arguments = {
        'image': np.zeros((4, 4, 3), np.uint8),
        'labels': np.zeros((4, 4), int),
        'names': NAMES,
        'palette': PALETTE,
    }
    with pytest.raises(ValueError, match=message):
        draw_overlay(**{**arguments, **changed})
