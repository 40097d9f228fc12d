"""Rasters of any size, in tiles whose scores are blended before they are decided."""

from __future__ import annotations

from ovseg.rasters.segment import RasterResult, segment_raster
from ovseg.rasters.settings import RasterSettings

__all__ = ['RasterResult', 'RasterSettings', 'segment_raster']
