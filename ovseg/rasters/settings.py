"""How a raster is cut into tiles, and how much of it is held at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovseg.errors import UserError

SMALLEST_TILE = 32


@dataclass(frozen=True)
class RasterSettings:
    """Settings of a run over a raster.

    Attributes:
        tile: side in pixels of the squares that the model sees, each like a photograph: it resizes
            them by its own rule. Smaller tiles show smaller things.
        overlap: pixels that neighbouring tiles share, at most half a tile. Across them the scores
            of one go over into those of the other.
        bands: which three bands are red, green and blue, or the one that is grey, from 1; None:
            those that the file calls so, or else the first three, or the first.
        value_range: the values that become black and white in bands that are not 8-bit; None: the
            2nd and the 98th percentile of each band.
        megabytes: 2^20 bytes that tiles, scores and labels may take together, beside the model and
            what it needs for one batch of tiles.

    Raises:
        UserError: a setting out of range.
    """

    tile: int = 512
    overlap: int = 128
    bands: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None
    megabytes: float = 1024.0

    def __post_init__(self) -> None:
        if self.tile < SMALLEST_TILE:
            raise UserError(f'tile must be at least {SMALLEST_TILE} pixels, but is {self.tile}.')
        if not 0 <= self.overlap <= self.tile // 2:
            raise UserError(
                f'overlap must be from 0 to half a tile ({self.tile // 2} pixels), but is '
                f'{self.overlap}.'
            )
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise UserError(
                f'bands must be three (red, green, blue) or one (grey), but are {len(self.bands)}.'
            )
        low, high = self.value_range or (0.0, 1.0)
        if not -math.inf < low < high < math.inf:
            raise UserError(f'value_range must go up, but is from {low:g} to {high:g}.')
        if not self.megabytes > 0:
            raise UserError(f'megabytes must be more than 0, but is {self.megabytes:g}.')
