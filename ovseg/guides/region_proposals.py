"""Masks that may each be a thing: what OVSeg calls proposals, from any source."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ovseg.guides.region_maps import RegionSource


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
        unclaimed: id of what belongs to no region; None if every id is a region, as in a label map.

    Example:
        >>> class Map:
        ...     def regions(self, image, name=None):
        ...         return np.array([[0, 2, 5]])
        >>> MapProposals(Map()).proposals(np.zeros((1, 3, 3), np.uint8)).astype(int).tolist()
        [[[0, 1, 0]], [[0, 0, 1]]]
    """

    def __init__(self, source: RegionSource, unclaimed: int | None = 0) -> None:
        self.source = source
        self.unclaimed = unclaimed

    def proposals(
        self, image: npt.NDArray[np.uint8], name: str | None = None
    ) -> npt.NDArray[np.bool_]:
        """See :class:`ProposalSource`; in the order of the ids."""
        regions = self.source.regions(image, name)
        ids = [number for number in np.unique(regions) if number != self.unclaimed]
        return regions[None] == np.array(ids, regions.dtype).reshape(-1, 1, 1)
