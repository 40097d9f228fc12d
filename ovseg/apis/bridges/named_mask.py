"""What all forms of a result are made of: masks with their words."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage

from ovseg.mask_polygons import mask_polygons, one_ring


@dataclass(frozen=True, eq=False)
class NamedMask:
    """A mask of a result that is not background: of a class, or of a segment.

    Attributes:
        mask: (H, W) bool, true somewhere.
        label: index of its class.
        name: the class's name.
        score: in [0, 1]; None if not measured.
        segment: the segment's id; None for a class.
    """

    mask: npt.NDArray[np.bool_] = field(repr=False)
    label: int
    name: str
    score: float | None
    segment: int | None = None

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The smallest box around it: left, top, right, bottom in pixels, the last two outside."""
        (columns,), (rows,) = (np.nonzero(self.mask.any(axis=axis)) for axis in (0, 1))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """The box of a segment, which is one thing; of a class one a connected part.

        Pixels that touch at a corner alone are not connected.
        """
        if self.segment is not None:
            return [self.box]
        parts, _ = ndimage.label(self.mask)
        found = ndimage.find_objects(parts)
        return [(x.start, y.start, x.stop, y.stop) for y, x in found]

    @cached_property
    def pixels(self) -> int:
        """How many it has."""
        return int(np.count_nonzero(self.mask))

    def polygons(self, tolerance: float = 0.0) -> list[shapely.Polygon]:
        """Its connected parts (see :func:`ovseg.mask_polygons.mask_polygons`)."""
        return mask_polygons(self.mask, tolerance)

    def lines(self, tolerance: float, whole: bool) -> list[npt.NDArray[np.int64]]:
        """Closed lines for formats without holes (see :func:`ovseg.mask_polygons.one_ring`).

        Args:
            tolerance: of :meth:`polygons`.
            whole: one line for all parts of a segment, which is one thing; else one a part.
        """
        parts = self.polygons(tolerance)
        if whole and self.segment is not None:
            return [one_ring(parts)]
        return [one_ring([part]) for part in parts]
