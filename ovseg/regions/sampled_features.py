"""Features of a whole image read as if they had been resized to every pixel, which they never are.

CorrCLIP (version 2) resizes a companion's map to the network's input, makes unit vectors of it,
cuts windows out and resizes these to a grid. A patch of the grid reads at most 2 x 2 pixels of the
large map, so only those are computed: 1024 channels of a whole image would take a gigabyte.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.dense import Margins
from ovseg.images.windows import Box
from ovseg.row_resize import source_rows

# Values of the large map that exist at once while regions are averaged.
_VALUES_AT_ONCE = 1 << 24


class SampledFeatures:
    """A map of an image, read at the image's pixels.

    Args:
        features: (C, h, w).
        size: (height, width) of the network's input in pixels.
    """

    def __init__(self, features: Tensor, size: tuple[int, int]) -> None:
        self.features = features
        self.size = size
        self._rows = source_rows(0, size[0], size[0], features.shape[1], features)
        self._columns = source_rows(0, size[1], size[1], features.shape[2], features)

    def pixels(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Unit vectors at the crossings of pixel rows and columns.

        Args:
            rows: (m,) int64.
            columns: (n,) int64.

        Returns:
            (C, m, n).
        """
        lower, upper, weight = (part[rows] for part in self._rows)
        read = self.features[:, lower].lerp(self.features[:, upper], weight[:, None])
        lower, upper, weight = (part[columns] for part in self._columns)
        return F.normalize(read[..., lower].lerp(read[..., upper], weight), dim=0)

    def window(self, box: Box, margins: Margins, grid: tuple[int, int]) -> Tensor:
        """A window's map on a grid, bilinear.

        Args:
            box: (y1, x1, y2, x2) in pixels.
            margins: (top, bottom, left, right), how far the grid reaches beyond the box; the
                pixels at the border go on there.
            grid: (height, width) wanted.

        Returns:
            (C, height, width).
        """
        top, bottom, left, right = margins
        y1, x1, y2, x2 = box
        rows, row_weight = self._read_lines(y1, y2, top, bottom, grid[0])
        columns, column_weight = self._read_lines(x1, x2, left, right, grid[1])
        read = self.pixels(rows, columns)
        upper, lower = read.chunk(2, dim=1)
        left_half, right_half = upper.lerp(lower, row_weight[:, None]).chunk(2, dim=2)
        return left_half.lerp(right_half, column_weight)

    def _read_lines(
        self, start: int, stop: int, before: int, after: int, count: int
    ) -> tuple[Tensor, Tensor]:
        """Pixel lines that a resize reads: (2 * count,) first ones, then second ones; weights."""
        length = before + stop - start + after
        first, second, weight = source_rows(0, count, count, length, self.features)
        lines = torch.cat([first, second]) - before
        return lines.clamp_(0, stop - start - 1) + start, weight

    def region_means(self, regions: Tensor) -> Tensor:
        """Mean of the pixels' unit vectors in each region.

        Args:
            regions: (height, width) int64, numbers 0 to R - 1, none without a pixel.

        Returns:
            (R, C).
        """
        height, width = self.size
        channels = len(self.features)
        totals = self.features.new_zeros(channels, int(regions.max()) + 1)
        columns = torch.arange(width, device=regions.device)
        at_once = max(1, _VALUES_AT_ONCE // (channels * width))
        for rows in torch.arange(height, device=regions.device).split(at_once):
            totals.index_add_(1, regions[rows].flatten(), self.pixels(rows, columns).flatten(1))
        return (totals / regions.flatten().bincount()).T
