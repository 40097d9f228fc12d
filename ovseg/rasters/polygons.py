"""Labels of a raster as polygons with its coordinates, for geographic information systems."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.errors import UserError
from ovseg.extras import extra_module
from ovseg.files import written_whole
from ovseg.rasters.ground import LONGITUDE_LATITUDE
from ovseg.result_files import GEOPACKAGE_LAYER, marked_json

# Polygons that are handed to the writer at once.
_AT_ONCE = 10000
# The longest edge in pixels that is taken to another coordinate system by its ends alone.
_STRAIGHT = 100


def write_polygons(
    labels: Path, path: Path, names: Sequence[str], background_index: int | None, smallest: int
) -> int:
    """Write the pieces of each class as polygons with their holes, along the edges of pixels.

    Pieces that touch at a corner alone are two. The background is left out. A ``.gpkg`` file
    (GeoPackage) has the raster's coordinates, a ``.geojson`` file longitude and latitude as RFC
    7946 has it, or pixels (column, row) where the raster has no coordinate system. The outlines of
    all polygons are held in memory.

    Args:
        labels: the GeoTIFF file of labels.
        path: the file to write, ``.gpkg`` or ``.geojson``.
        names: of the classes.
        background_index: the class of "none of these", or None.
        smallest: pieces of fewer pixels are left out, and a hole stays in their place.

    Returns:
        How many polygons there are.

    Raises:
        UserError: it cannot be written, or a library is missing.
    """
    rasterio = extra_module('rasterio', 'geo', 'Rasters')
    with rasterio.open(labels) as dataset:
        pieces = _pieces(dataset, names, background_index, smallest)
        if path.suffix == '.geojson':
            return _write_geojson(pieces, path, dataset.crs, abs(dataset.transform.determinant))
        return _write_geopackage(pieces, path, dataset.crs)


# (class index, its name, its area in pixels, a GeoJSON geometry)
_Piece = tuple[int, str, int, dict[str, Any]]


def _pieces(
    dataset: Any, names: Sequence[str], background_index: int | None, smallest: int
) -> Iterator[_Piece]:
    rasterio = extra_module('rasterio', 'geo', 'Rasters')
    features = extra_module('rasterio.features', 'geo', 'Rasters')
    pixel = abs(dataset.transform.determinant)
    found = features.shapes(rasterio.band(dataset, 1), connectivity=4, transform=dataset.transform)
    for geometry, value in found:
        index = int(value)
        if index == background_index or index == dataset.nodata:
            continue
        area = round(_ring_areas(geometry) / pixel)
        if area >= smallest:
            yield index, names[index], area, geometry


def _ring_areas(geometry: dict[str, Any]) -> float:
    """Area of a polygon in its own coordinates: the outer ring's less those of its holes."""
    outer, *holes = (_ring_area(ring) for ring in geometry['coordinates'])
    return outer - sum(holes)


def _ring_area(ring: Sequence[Sequence[float]]) -> float:
    points = np.asarray(ring, np.float64)
    points = points - points[0]  # coordinates are large, areas small
    x, y = points[:-1].T, points[1:].T
    return float(abs((x[0] * y[1] - y[0] * x[1]).sum())) / 2


def _write_geojson(pieces: Iterator[_Piece], path: Path, crs: Any, pixel: float) -> int:
    count = 0
    shapely = extra_module('shapely', 'geo', 'GeoJSON')
    warp = extra_module('rasterio.warp', 'geo', 'Rasters')
    head = json.dumps(marked_json({'type': 'FeatureCollection', 'features': []}), indent=2)
    with written_whole(path) as temporary, temporary.open('w', encoding='utf-8') as file:
        file.write(head.removesuffix(']\n}'))
        for index, name, area, geometry in pieces:
            if crs is not None:
                # What is straight in the raster is bent in longitude and latitude.
                bent = shapely.segmentize(shapely.geometry.shape(geometry), _STRAIGHT * pixel**0.5)
                geometry = shapely.geometry.mapping(bent)
                geometry = warp.transform_geom(crs, LONGITUDE_LATITUDE, geometry)
            feature = {
                'type': 'Feature',
                'properties': {'class': name, 'index': index, 'pixels': area},
                'geometry': geometry,
            }
            file.write(f'{"," if count else ""}\n{json.dumps(feature, ensure_ascii=False)}')
            count += 1
        file.write('\n]}\n')
    return count


def _write_geopackage(pieces: Iterator[_Piece], path: Path, crs: Any) -> int:
    pyogrio = extra_module('pyogrio', 'geo', 'GeoPackages')
    shapely = extra_module('shapely', 'geo', 'GeoPackages')
    count = 0
    with written_whole(path) as temporary:
        temporary.unlink()  # SQLite takes an empty file for a broken one
        while True:
            part = list(islice(pieces, _AT_ONCE))
            if not part and count:
                return count
            polygons = [shapely.geometry.shape(geometry) for *_, geometry in part]
            columns = [
                np.array([name for _, name, _, _ in part], object),
                np.array([index for index, *_ in part], np.int64),
                np.array([area for _, _, area, _ in part], np.int64),
            ]
            try:
                pyogrio.raw.write(
                    temporary,
                    geometry=np.array([shapely.to_wkb(each) for each in polygons], object),
                    field_data=columns,
                    fields=['class', 'index', 'pixels'],
                    layer=GEOPACKAGE_LAYER,
                    driver='GPKG',
                    geometry_type='Polygon',
                    crs=None if crs is None else crs.to_wkt(),
                    append=bool(count),
                )
            except pyogrio.errors.DataSourceError as error:
                raise UserError(f'Cannot write {path} ({error}).') from error
            count += len(part)
            if len(part) < _AT_ONCE:
                return count
