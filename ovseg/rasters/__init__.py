"""Rasters of any size, in tiles whose scores are blended before they are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovseg.lazy import lazy_names

if TYPE_CHECKING:  # what editors and type checkers read instead of __getattr__
    from ovseg.rasters.segment import RasterResult, segment_raster
    from ovseg.rasters.settings import RasterSettings

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        'ovseg.rasters.segment': ['RasterResult', 'segment_raster'],
        'ovseg.rasters.settings': ['RasterSettings'],
    },
)

__all__ = ['RasterResult', 'RasterSettings', 'segment_raster']
