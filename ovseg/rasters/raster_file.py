"""A raster on disk, read in windows as the RGB pixels that a model knows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from ovseg.errors import UserError, notify
from ovseg.exact_digits import exact, shortest
from ovseg.extras import extra_module
from ovseg.input_files import regular_file
from ovseg.rasters.settings import RasterSettings

_PURPOSE = 'Rasters'
# The percentiles that become black and white are those of so many pixels a side.
_SAMPLED = 1024
_PERCENTILES = (2.0, 98.0)
# What GDAL keeps of blocks that it read or will write, as a share of the memory that is allowed.
_CACHE_SHARE = 1 / 8
_SMALLEST_CACHE = 16
# What GDAL calls that which it says of a file's bits.
_STRUCTURE = 'IMAGE_STRUCTURE'
# Formats that hold pixels, as GDAL calls them.
_DRIVERS = ['GTiff', 'PNG', 'JPEG', 'JP2OpenJPEG', 'BMP', 'GIF', 'WEBP', 'HFA', 'ENVI']


class Raster:
    """An open raster; see :func:`opened_raster`.

    Args:
        dataset: as rasterio opened it.
        path: of its file.
        settings: bands and values.

    Attributes:
        size: (H, W) in pixels.
        crs: coordinate reference system, a ``rasterio.crs.CRS``, or None.
        transform: from (column, row) to coordinates, an ``affine.Affine``; the identity where the
            file says nothing.
        path: of the file.
    """

    def __init__(self, dataset: Any, path: Path, settings: RasterSettings) -> None:
        self._dataset = dataset
        self.path = path
        self.size: tuple[int, int] = (dataset.height, dataset.width)
        self.crs = dataset.crs
        self.transform = dataset.transform
        self._bands = self._chosen_bands(settings.bands)
        self._colors = self._color_table()
        self._ranges = self._value_ranges(settings.value_range)
        # Scans and faxes: 0 is white.
        self._is_negative = dataset.tags(ns=_STRUCTURE).get('MINISWHITE') == 'YES'
        self._tell_what_is_left_out()

    def read(
        self, top: int, left: int, bottom: int, right: int, shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A window's pixels.

        Args:
            top: first row.
            left: first column.
            bottom: one past the last row.
            right: one past the last column.
            shape: (h, w) to which the window is thinned out; None for as it is.

        Returns:
            (h, w, 3) uint8 RGB, black where the raster has no data, and (h, w) bool, where it has.

        Raises:
            UserError: the file is damaged there.
        """
        window = ((top, bottom), (left, right))
        errors = extra_module('rasterio.errors', 'geo', _PURPOSE)
        try:
            valid = self._dataset.dataset_mask(window=window, out_shape=shape) > 0
            values = self._dataset.read(
                self._bands,
                window=window,
                out_shape=None if shape is None else (len(self._bands), *shape),
            )
        except errors.RasterioIOError as error:
            raise UserError(
                f'{self.path} cannot be read at rows {top} to {bottom}, columns {left} to {right} '
                f'({error}): the file is damaged or cut off.'
            ) from error
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(0)
        pixels = self._as_rgb(values)
        pixels[~valid] = 0
        return pixels, valid

    def _as_rgb(self, values: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 of the chosen bands (1 or 3, h, w)."""
        if self._colors is not None:
            return self._colors[values[0].astype(np.int64).clip(0, len(self._colors) - 1)]
        if self._ranges is not None:
            low, high = self._ranges
            scaled = (np.nan_to_num(values.astype(np.float32)) - low) / (high - low) * 255
            values = scaled.round().clip(0, 255).astype(np.uint8)
        pixels = np.ascontiguousarray(values.transpose(1, 2, 0))
        if self._is_negative:
            pixels = 255 - pixels
        return pixels if len(values) == 3 else np.repeat(pixels, 3, axis=2)

    def _chosen_bands(self, wanted: tuple[int, ...] | None) -> list[int]:
        count = self._dataset.count
        if wanted is not None:
            for band in wanted:
                if not 1 <= band <= count:
                    raise UserError(f'{self.path} has the bands 1 to {count}, but no {band}.')
            return list(wanted)
        called = {kind.name: index for index, kind in enumerate(self._dataset.colorinterp, 1)}
        if all(name in called for name in ('red', 'green', 'blue')):
            return [called[name] for name in ('red', 'green', 'blue')]
        opaque = [
            index for index, kind in enumerate(self._dataset.colorinterp, 1) if kind.name != 'alpha'
        ]
        return opaque[:3] if len(opaque) >= 3 else opaque[:1]

    def _color_table(self) -> np.ndarray | None:
        """(256 or 65536, 3) uint8 of a file whose one band holds numbers of colours."""
        if self._dataset.colorinterp[self._bands[0] - 1].name != 'palette':
            return None
        is_short = self._dataset.dtypes[self._bands[0] - 1] == 'uint8'
        colors = np.zeros((256 if is_short else 65536, 3), np.uint8)
        for index, color in self._dataset.colormap(self._bands[0]).items():
            if index < len(colors):
                colors[index] = color[:3]
        return colors

    def _value_ranges(
        self, wanted: tuple[float, float] | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """What becomes black and white, (bands, 1, 1) each; None where values are taken as is."""
        kinds = {self._dataset.dtypes[band - 1] for band in self._bands}
        if any(kind.startswith('complex') for kind in kinds):
            raise UserError(f'{self.path} holds complex numbers, which are no picture.')
        if self._colors is not None:
            return None
        if kinds == {'uint8'} and wanted is None:
            return self._of_few_bits()
        if wanted is not None:
            ranges = np.array([wanted] * len(self._bands), np.float32)
        else:
            ranges = np.array([self._percentiles(band) for band in self._bands], np.float32)
            told = ', '.join(
                f'{band}: {exact(shortest(low))} to {exact(shortest(high))}'
                for band, (low, high) in zip(self._bands, ranges, strict=True)
            )
            notify(
                f'{self.path.name} has values of the kind {min(kinds)}: from black to white go '
                f'those of its bands {told}: percentiles {_PERCENTILES[0]:g} to '
                f'{_PERCENTILES[1]:g} (--value-range LOW HIGH says others).'
            )
        return ranges[:, 0, None, None], ranges[:, 1, None, None]

    def _of_few_bits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The ranges of bands that use 1, 2 or 4 of 8 bits; None where all are used."""
        bits = [
            int(self._dataset.tags(band, ns=_STRUCTURE).get('NBITS', 8)) for band in self._bands
        ]
        if min(bits) >= 8:
            return None
        high = np.array([2**number - 1 for number in bits], np.float32)[:, None, None]
        return np.zeros_like(high), high

    def _tell_what_is_left_out(self) -> None:
        if self.crs is None and (self._dataset.gcps[0] or self._dataset.rpcs is not None):
            notify(
                f'{self.path.name} tells where it lies by control points or a camera model alone: '
                'labels have no coordinates; warp it first (gdalwarp).'
            )
        if self._is_turned():
            notify(
                f'{self.path.name} says that it is to be turned to be upright, which rasters are '
                'not: the model sees it as it lies in the file. Turn it first, or take ovseg '
                'segment.'
            )

    def _is_turned(self) -> bool:
        """Whether the file has a tag that tells viewers to turn or flip it."""
        said = self._dataset.tags().get('EXIF_Orientation')
        if said is None and self._dataset.driver == 'GTiff':
            with suppress(Exception), warnings.catch_warnings():  # a kind that Pillow does not know
                warnings.simplefilter('ignore')
                with Image.open(self.path) as picture:
                    said = picture.getexif().get(ExifTags.Base.Orientation)
        return str(said or 1) != '1'

    def _percentiles(self, band: int) -> tuple[float, float]:
        height, width = (min(side, _SAMPLED) for side in self.size)
        sample = self._dataset.read(band, out_shape=(height, width), masked=True)
        values = np.ma.masked_invalid(sample).compressed()
        if not len(values):
            raise UserError(f'Band {band} of {self.path} has no data.')
        low, high = np.percentile(values, _PERCENTILES)
        return float(low), float(high) if high > low else float(low) + 1.0


@contextmanager
def opened_raster(path: str | Path, settings: RasterSettings) -> Iterator[Raster]:
    """A raster of any kind that GDAL reads: GeoTIFF, and plain TIFF, PNG or JPEG likewise.

    Args:
        path: of the file.
        settings: which bands are shown how, and the memory that GDAL may take its share of.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no raster, or lacks a band; or rasterio is missing.
    """
    rasterio = extra_module('rasterio', 'geo', _PURPOSE)
    file = regular_file(path, 'raster')
    cache = max(_SMALLEST_CACHE, int(settings.megabytes * _CACHE_SHARE))
    with rasterio.Env(GDAL_CACHEMAX=cache):
        try:
            with warnings.catch_warnings():
                # A plain picture is meant to have no coordinates.
                warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
                dataset = rasterio.open(file)
        except rasterio.errors.RasterioIOError as error:
            raise UserError(
                f'{path} cannot be read as a raster ({error}): it must be a whole file of the '
                f'kinds {", ".join(_DRIVERS)}, or a .vrt.'
            ) from error
        with dataset:
            # A list of other files, on other machines, too, must say by its name that it is one.
            is_list = dataset.driver == 'VRT' and file.suffix.lower() == '.vrt'
            if dataset.driver not in _DRIVERS and not is_list:
                raise UserError(
                    f'{path} is a file of the kind {dataset.driver}: rasters are read from '
                    f'{", ".join(_DRIVERS)}, or a .vrt.'
                )
            if not dataset.count:
                raise UserError(f'{path} has no band of pixels: name one of its subdatasets.')
            yield Raster(dataset, file, settings)
