"""What the coordinates of a raster are worth on the ground."""

from __future__ import annotations

import math

from ovseg.errors import UserError, notify
from ovseg.extras import extra_module
from ovseg.rasters.raster_file import Raster

LONGITUDE_LATITUDE = 'EPSG:4326'
# Of the ellipsoid WGS 84: half its longer axis in metres, and its squared eccentricity.
_AXIS = 6378137.0
_ECCENTRICITY = 0.00669437999014
# Sides in metres of the square that is measured: PROJ is exact to less than a millimetre.
_MEASURED = 1000.0
# Areas of maps for measuring (UTM, those of most countries) are off by less than this.
_OFF = 0.02


def check_is_on_earth(raster: Raster) -> None:
    """Stops before the work where coordinates cannot become longitude and latitude.

    Args:
        raster: its coordinate system may be one of a building site, on no known place.

    Raises:
        UserError: they cannot.
    """
    if raster.crs is None:
        return
    try:
        _on_earth(raster, [_middle(raster)])
    except Exception as error:  # of GDAL and PROJ, of many kinds
        raise UserError(
            f'The coordinate system of {raster.path} has no place on the earth, so there is no '
            'GeoJSON of it: save gpkg, which has its own coordinates.'
        ) from error


def pixel_area(raster: Raster) -> float | None:
    """Of a pixel on the ground, in square units of a projected coordinate system, else None.

    Args:
        raster: with its coordinates.

    Warns:
        Notice: the system stretches areas (web maps do, the more the further from the equator), so
            that none are told.
    """
    crs = raster.crs
    if crs is None or not crs.is_projected:
        return None
    area = float(abs(raster.transform.determinant))
    stretched = _stretched(raster, area)
    if abs(stretched - 1) <= _OFF:
        return area
    notify(
        f'Areas in the coordinate system of {raster.path.name} are {stretched:.3g} times those on '
        'the ground, so no areas are told: warp the raster to a system for measuring, such as '
        'UTM (gdalwarp -t_srs).'
    )
    return None


def _stretched(raster: Raster, area: float) -> float:
    """Areas of the coordinate system in the middle of a raster as shares of true ones."""
    _, factor = raster.crs.linear_units_factor
    pixels = _MEASURED / (math.sqrt(area) * factor)
    column, row = _middle(raster)
    corners = [(column, row), (column + pixels, row), (column, row + pixels)]
    try:
        (west, south), *others = _on_earth(raster, corners)
    except Exception:  # on no known place, as a building site
        return 1.0
    # Metres a degree eastwards and northwards, there.
    latitude = math.radians(south)
    bent = 1 - _ECCENTRICITY * math.sin(latitude) ** 2
    east = math.radians(_AXIS / math.sqrt(bent)) * math.cos(latitude)
    north = math.radians(_AXIS * (1 - _ECCENTRICITY) / bent**1.5)
    # Over the date line, the shorter way.
    (x, y), (u, v) = (
        (((right - west + 180) % 360 - 180) * east, (up - south) * north) for right, up in others
    )
    true = abs(x * v - y * u)
    measured = area * factor**2 * pixels**2
    return measured / true if 0 < true < math.inf else 1.0


def _middle(raster: Raster) -> tuple[float, float]:
    height, width = raster.size
    return width / 2, height / 2


def _on_earth(raster: Raster, places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Longitude and latitude of places that are (column, row) of a raster."""
    warp = extra_module('rasterio.warp', 'geo', 'Rasters')
    to = raster.transform
    x = [to.a * column + to.b * row + to.c for column, row in places]
    y = [to.d * column + to.e * row + to.f for column, row in places]
    return list(zip(*warp.transform(raster.crs, LONGITUDE_LATITUDE, x, y), strict=True))
