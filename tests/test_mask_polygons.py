"""Outlines of masks: exact, valid, with holes, and simplified without losing any."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

from ovseg.errors import UserError
from ovseg.mask_polygons import geometry, mask_polygons, one_ring


def middles(size):
    """x and y of the middles of all pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return columns + 0.5, rows + 0.5


def filled(parts, size):
    """The pixels whose middle lies in polygons."""
    return shapely.contains_xy(shapely.multipolygons(parts), *middles(size))


def even_odd(line, size):
    """The pixels from whose middle a ray to the right meets a line an odd number of times."""
    x, y = middles(size)
    inside = np.zeros(size, bool)
    for (x1, y1), (x2, y2) in zip(line, np.roll(line, -1, axis=0), strict=True):
        if y1 != y2:
            at = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
            inside ^= ((y1 > y) != (y2 > y)) & (at > x)
    return inside


def masks():
    """Masks with holes, holes in islands in holes, corners that touch, noise, and whole ones."""
    random = np.random.default_rng(0)
    rings = np.hypot(*(np.mgrid[:31, :37] - np.array([15, 18])[:, None, None]))
    yield 'rings', (rings // 4 % 2).astype(bool)
    yield 'checks', np.indices((5, 6)).sum(axis=0) % 2 == 1
    yield 'all', np.ones((3, 4), bool)
    yield 'one', np.eye(1, 7, 6, dtype=bool)
    # A ring around a pixel, open at a corner that touches.
    yield 'corner', np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    for share in (0.3, 0.5, 0.8):
        yield f'noise {share}', random.random((29, 23)) < share
    yield 'blobs', ndimage.gaussian_filter(random.random((60, 80)), 2) > 0.5


@pytest.mark.parametrize('mask', [each for _, each in masks()], ids=[name for name, _ in masks()])
def test_exact_polygons_give_the_mask_back(mask):
    parts = mask_polygons(mask)
    assert shapely.is_valid(parts).all()
    assert shapely.is_valid(shapely.multipolygons(parts))
    assert (filled(parts, mask.shape) == mask).all()
    assert sum(part.area for part in parts) == mask.sum()
    assert len(parts) == ndimage.label(mask)[1]
    areas = [part.area for part in parts]
    assert areas == sorted(areas, reverse=True)
    # Nor does anything get lost where holes and parts are joined to one line.
    assert (even_odd(one_ring(parts), mask.shape) == mask).all()


@pytest.mark.parametrize('tolerance', [0.5, 1, 2.5])
def test_simplified_outlines_stay_near_and_lose_no_part_and_no_hole(tolerance):
    for _, mask in masks():
        exact, simple = mask_polygons(mask), mask_polygons(mask, tolerance)
        assert shapely.is_valid(simple).all()
        assert len(simple) == len(exact)
        assert sum(len(part.interiors) for part in simple) == sum(
            len(part.interiors) for part in exact
        )
        borders = [shapely.multipolygons(parts).boundary for parts in (exact, simple)]
        assert shapely.hausdorff_distance(*borders) <= tolerance
        corners = [set(map(tuple, shapely.get_coordinates(border))) for border in borders]
        assert corners[1] <= corners[0]


def test_a_slope_is_a_line_at_a_tolerance_of_one():
    mask = np.tri(40, dtype=bool)
    (exact,), (half,), (simple,) = (mask_polygons(mask, tolerance) for tolerance in (0, 0.5, 1))
    assert len(exact.exterior.coords) == 83
    assert len(half.exterior.coords) > 40
    assert len(simple.exterior.coords) <= 6
    assert (filled([simple], mask.shape) ^ mask).sum() <= 40


def test_points_are_corners_of_pixels_and_rings_turn_as_geojson_has_it():
    mask = np.zeros((4, 6), bool)
    mask[1:4, 2:5] = True
    mask[2, 3] = False
    assert geometry(mask_polygons(mask)) == {
        'type': 'Polygon',
        'coordinates': [
            [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]],
            [[3, 2], [3, 3], [4, 3], [4, 2], [3, 2]],
        ],
    }
    mask[0, 0] = True
    both = geometry(mask_polygons(mask))
    assert both['type'] == 'MultiPolygon'
    assert both['coordinates'][1] == [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]
    shape = shapely.geometry.shape(both)
    assert shape.is_valid and shape.area == mask.sum()
    assert all(part.exterior.is_ccw for part in shape.geoms)
    assert not shape.geoms[0].interiors[0].is_ccw


def test_nothing_has_no_polygons():
    assert mask_polygons(np.zeros((3, 4), bool)) == []
    assert geometry([]) == {'type': 'MultiPolygon', 'coordinates': []}


@pytest.mark.parametrize('tolerance', [-1, float('nan'), float('inf'), '1', True, None])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    with pytest.raises(UserError, match='tolerance must be a number of pixels'):
        mask_polygons(np.ones((2, 2), bool), tolerance)
