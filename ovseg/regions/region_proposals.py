"""Masks that may each be a thing: what OVSeg calls proposals, from any source."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ovseg.regions.region_maps import RegionSource


class ProposalSource(Protocol):
    """``image -> masks``, which may overlap."""

    def proposals(
        self, image: npt.NDArray[np.uint8], name: str | None = None
    ) -> npt.NDArray[np.floating | np.bool_]:
        """Finds masks.

        Args:
            image: (H, W, 3) RGB, at its own size.
            name: path or file name of the image.

        Returns:
            (Q, H, W) bool, or probabilities in [0, 1].
        """
        ...


class MapProposals:
    """The regions of a region map as proposals, a mask each.

    Args:
        source: gives the map.
        unclaimed: id of what belongs to no region; ``'smallest'`` for the smallest of each map
            where there are others, as :class:`~ovseg.regions.region_maps.RegionSource` has it;
            None if every id is a region, as in a label map.

    Example:
        >>> class Map:
        ...     def regions(self, image, name=None):
        ...         return np.array([[0, 2, 5]])
        >>> MapProposals(Map()).proposals(np.zeros((1, 3, 3), np.uint8)).astype(int).tolist()
        [[[0, 1, 0]], [[0, 0, 1]]]
    """

    def __init__(
        self, source: RegionSource, unclaimed: int | Literal['smallest'] | None = 0
    ) -> None:
        self.source = source
        self.unclaimed = unclaimed

    def proposals(
        self, image: npt.NDArray[np.uint8], name: str | None = None
    ) -> npt.NDArray[np.bool_]:
        """See :class:`ProposalSource`; in the order of the ids."""
        regions = self.source.regions(image, name)
        return regions == self._ids(regions)[:, None, None]

    def _ids(self, regions: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        ids = np.unique(regions)
        if self.unclaimed == 'smallest':
            return ids[1:] if len(ids) > 1 else ids
        return ids if self.unclaimed is None else ids[ids != self.unclaimed]
