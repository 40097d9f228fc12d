"""Generated colours."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.vocabulary import make_palette


def test_longer_palettes_start_with_shorter_ones():
    assert make_palette(50)[:7] == make_palette(7)
    assert make_palette(0) == []


def test_colours_are_pinned():
    assert make_palette(4) == [(0, 0, 255), (255, 0, 255), (0, 240, 0), (135, 0, 150)]


@pytest.mark.parametrize('count', [20, 150, 847, 5000])
def test_colours_are_unique_and_visible(count):
    colors = np.array(make_palette(count))
    assert len(np.unique(colors, axis=0)) == count
    assert colors.min() >= 0 and colors.max() <= 255
    # Relative luminance between the background's black and the paper's white.
    luminance = (colors / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    assert luminance.min() > 0.05 and luminance.max() < 0.9


@pytest.mark.parametrize(('count', 'distance'), [(10, 90), (20, 60), (150, 25)])
def test_colours_are_well_apart(count, distance):
    colors = np.array(make_palette(count), dtype=float)
    gaps = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert gaps[~np.eye(count, dtype=bool)].min() >= distance


def test_given_colours_are_avoided():
    taken = make_palette(5)
    assert not set(make_palette(100, taken)) & set(taken)


def test_more_classes_than_colours_is_said():
    with pytest.raises(ValueError, match='more colours than the palette has'):
        make_palette(10**6)
