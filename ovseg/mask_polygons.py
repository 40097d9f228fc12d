"""The outlines of a mask as polygons, and the other way round for formats without holes.

Coordinates are (x, y) in pixels, x to the right and y down, of the corners of pixels: the pixel in
row r and column c is the square from (c, r) to (c + 1, r + 1), and an image is the rectangle from
(0, 0) to (width, height). A polygon without simplification covers exactly its pixels, so filling
those whose middle (c + 0.5, r + 0.5) it holds gives the mask back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.polygon import orient

from ovseg.errors import UserError


def check_tolerance(tolerance: float) -> float:
    """How far a simplified outline may be from the true one, in pixels.

    Raises:
        UserError: it is no number from 0 on.
    """
    is_number = isinstance(tolerance, Real) and not isinstance(tolerance, bool)
    if not is_number or not 0 <= tolerance < math.inf:
        raise UserError(
            f'tolerance must be a number of pixels, 0 for exact outlines, got {tolerance!r}.'
        )
    return float(tolerance)


def mask_polygons(mask: npt.NDArray[np.bool_], tolerance: float = 0.0) -> list[shapely.Polygon]:
    """The connected parts of a mask as valid polygons with holes, the largest first.

    Pixels that touch at a corner alone are not connected.

    Args:
        mask: (H, W) bool.
        tolerance: in pixels; outlines lose corners (Douglas-Peucker) as long as they stay that
            near, and no part or hole is lost. Up to 0.7 steps stay steps, from 1 on slopes are
            lines.

    Raises:
        UserError: the tolerance is no number from 0 on.

    Example:
        >>> mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
        >>> [part.wkt for part in mask_polygons(mask)]
        ['POLYGON ((0 0, 3 0, 3 3, 0 3, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1))']
    """
    tolerance = check_tolerance(tolerance)
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(_borders(mask))))
    if not len(faces):
        return []
    # Borders have two sides: the faces of holes and of what lies in them go.
    inside = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(int)
    parts = shapely.multipolygons(faces[mask[inside[:, 1], inside[:, 0]]])
    if tolerance:
        parts = shapely.simplify(parts, tolerance, preserve_topology=True)
    # From one and the same corner on, the outer ring turning from x to y.
    oriented = [orient(shapely.normalize(part)) for part in shapely.get_parts(parts)]
    return sorted(oriented, key=lambda part: (-part.area, part.bounds))


def geometry(polygons: Sequence[shapely.Polygon]) -> dict[str, Any]:
    """Polygons as a geometry of GeoJSON: a ``Polygon``, or a ``MultiPolygon`` of none or several.

    Args:
        polygons: of :func:`mask_polygons`.

    Returns:
        ``type`` and ``coordinates``: rings of ``[x, y]`` integers whose last point is their first.
        Outer rings turn as GeoJSON has it, from the x axis to the y axis, so clockwise on a
        screen, where y points down; holes turn the other way.
    """
    rings = [[_points(part.exterior), *map(_points, part.interiors)] for part in polygons]
    if len(rings) == 1:
        return {'type': 'Polygon', 'coordinates': rings[0]}
    return {'type': 'MultiPolygon', 'coordinates': rings}


def one_ring(polygons: Sequence[shapely.Polygon]) -> npt.NDArray[np.int64]:
    """Polygons with their holes as one closed line, for formats that know nothing else.

    Rings are joined by cuts without width, each walked there and back, so that whatever fills the
    line by the even-odd or the non-zero rule fills what the polygons cover.

    Args:
        polygons: at least one, of :func:`mask_polygons`.

    Returns:
        (N, 2) corners; the last is not the first again.
    """
    line, *others = [
        shapely.get_coordinates(ring)[:-1].astype(np.int64)
        for part in polygons
        for ring in (part.exterior, *part.interiors)
    ]
    # From left to right, so that cuts are short: what is joined already lies near.
    for ring in sorted(others, key=lambda ring: ring.min(axis=0).tolist()):
        start = int(np.lexsort(ring.T[::-1])[0])
        ring = np.roll(ring, -start, axis=0)
        near = int(np.square(line - ring[0]).sum(axis=1).argmin())
        line = np.concatenate([line[: near + 1], ring, ring[:1], line[near:]])
    return line


def _borders(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Straight lines between pixels inside and outside, as long as they go: (N, 2, 2) of x, y.

    Where two pixels inside touch at a corner, lines end, since their inner side changes there.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    lines = []
    for pixels, columns in ((padded, slice(None)), (padded.T, slice(None, None, -1))):
        steps = np.pad(np.diff(pixels, axis=0)[:, 1:-1], ((0, 0), (1, 1)))
        row, column = np.nonzero(np.diff(steps, axis=1))
        corners = np.stack([column, row], axis=1)[:, columns]
        (begin,) = np.nonzero(steps[row, column + 1])
        lines.append(np.stack([corners[begin], corners[begin + 1]], axis=1))
    return np.concatenate(lines).astype(np.float64)


def _points(ring: shapely.LinearRing) -> list[list[int]]:
    points: list[list[int]] = shapely.get_coordinates(ring).astype(int).tolist()
    return points
