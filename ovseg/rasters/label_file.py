"""Labels of a raster as a GeoTIFF with its coordinates, written block by block."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ovseg.errors import UserError
from ovseg.extras import extra_module
from ovseg.files import written_whole
from ovseg.rasters.raster_file import Raster

# Side in pixels of the blocks of the file. What is written at once begins and ends at their edges,
# so that each is packed once.
BLOCK = 256
# One value each is kept for pixels without data.
_MOST_IN_8_BITS = 255
_MOST_IN_16_BITS = 65535


def no_data_value(classes: int) -> int:
    """The value of pixels where the raster has no data.

    Args:
        classes: how many there are.

    Raises:
        UserError: more than a GeoTIFF of 16 bits can number.

    Example:
        >>> no_data_value(20), no_data_value(847)
        (255, 65535)
    """
    if classes > _MOST_IN_16_BITS:
        raise UserError(f'{classes} classes are more than a label raster numbers (65535).')
    return _MOST_IN_8_BITS if classes <= _MOST_IN_8_BITS else _MOST_IN_16_BITS


class LabelFile:
    """An open file of labels; see :func:`label_file`.

    Args:
        dataset: that rasterio writes.
        no_data: see :func:`no_data_value`.
    """

    def __init__(self, dataset: Any, no_data: int) -> None:
        self._dataset = dataset
        self._no_data = no_data

    def write(self, top: int, left: int, labels: np.ndarray, valid: np.ndarray) -> None:
        """Write a part.

        Args:
            top: its first row in the raster.
            left: its first column.
            labels: (h, w) class indices.
            valid: (h, w) bool, where the raster has data.
        """
        values = np.where(valid, labels, self._no_data).astype(self._dataset.dtypes[0])
        height, width = values.shape
        window = ((top, top + height), (left, left + width))
        self._dataset.write(values, 1, window=window)


@contextmanager
def label_file(
    path: Path,
    raster: Raster,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    tags: dict[str, str],
) -> Iterator[LabelFile]:
    """A GeoTIFF of labels, which appears whole when the block ends, or not at all.

    It has one band of 8 bits (16 beyond 255 classes), packed by deflate in blocks, its classes'
    colours as far as they go, ``no_data`` where the raster has no data, and the class names as tags
    ``class_0``, ``class_1``, ... beside the given ones.

    Args:
        path: the file.
        raster: whose size and coordinates it has.
        names: of the classes.
        palette: their colours.
        tags: what else the file says of itself.

    Raises:
        UserError: it cannot be written, or there are too many classes.
    """
    rasterio = extra_module('rasterio', 'geo', 'Rasters')
    no_data = no_data_value(len(names))
    profile = {
        'driver': 'GTiff',
        'height': raster.size[0],
        'width': raster.size[1],
        'count': 1,
        'dtype': 'uint8' if no_data == _MOST_IN_8_BITS else 'uint16',
        'crs': raster.crs,
        'transform': raster.transform,
        'nodata': no_data,
        'tiled': True,
        'blockxsize': BLOCK,
        'blockysize': BLOCK,
        'compress': 'deflate',
        'BIGTIFF': 'IF_SAFER',
    }
    with written_whole(path) as temporary:
        with warnings.catch_warnings():
            # A plain picture is meant to have no coordinates.
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            dataset = rasterio.open(temporary, 'w', **profile)
        with dataset:
            classes = {f'class_{index}': name for index, name in enumerate(names)}
            dataset.update_tags(TIFFTAG_SOFTWARE='ovseg', **tags, **classes)
            if no_data == _MOST_IN_8_BITS:
                colors = {index: (*color, 255) for index, color in enumerate(palette)}
                dataset.write_colormap(1, {**colors, no_data: (0, 0, 0, 0)})
            yield LabelFile(dataset, no_data)
