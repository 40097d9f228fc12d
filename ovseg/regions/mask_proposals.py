"""Where mask proposals come from: a network that embeds each of them, or any regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.regions.mask_maps import mask_maps
from ovseg.regions.region_maps import RegionSource
from ovseg.regions.region_proposals import MapProposals
from ovseg.registry import MODELS, build_part
from ovseg.scores.upsample import ScoreMaps

# Sides of the images that a proposal network sees are multiples of this.
_DIVISOR = 32
# Logits of masks that are certain: their sigmoid is 0 or 1 in float32.
_CERTAIN = 100.0


@dataclass(frozen=True)
class ImageProposals:
    """Masks of one image, not named yet.

    Attributes:
        maps: Q mask logits, see :func:`~ovseg.regions.mask_maps.mask_maps`.
        embeddings: (Q, E) of the masks in the text space, not normalised; None where the source
            knows nothing of the text space.
    """

    maps: ScoreMaps
    embeddings: Tensor | None = None


class ProposalStage(Protocol):
    """``images -> masks``, as the segmentor asks for them: batches at the size of the network.

    Attributes:
        reads_originals: whether it wants the images at their own size, too.
        reads_names: whether it wants the images' file names, too.
    """

    reads_originals: bool
    reads_names: bool

    def propose(
        self,
        inputs: Tensor,
        originals: Sequence[np.ndarray] | None = None,
        names: Sequence[str | None] | None = None,
    ) -> list[ImageProposals]:
        """Proposes masks for a batch of images of one size.

        Args:
            inputs: (B, 3, H, W), normalised, not padded.
            originals: (H', W', 3) uint8 RGB each.
            names: path or file name of each image.
        """
        ...


@MODELS.register_module()
class RegionProposals(nn.Module):
    """Regions of SAM or from files as proposals: certain masks that only CLIP can name.

    Args:
        regions: config of a :class:`~ovseg.regions.region_maps.RegionSource`.
    """

    reads_originals = True

    def __init__(self, regions: Mapping[str, Any] | RegionSource) -> None:
        super().__init__()
        self.regions = build_part(regions) if isinstance(regions, Mapping) else regions

    @property
    def reads_names(self) -> bool:
        """Whether the source looks files up by name."""
        return self.regions.needs_names

    def __repr__(self) -> str:
        return f'RegionProposals({self.regions!r})'

    @torch.no_grad()
    def propose(
        self,
        inputs: Tensor,
        originals: Sequence[np.ndarray] | None = None,
        names: Sequence[str | None] | None = None,
    ) -> list[ImageProposals]:
        """See :class:`ProposalStage`.

        The smallest id of a map, what no region claimed, is left out where there are others.

        Raises:
            UserError: no images at their own size.
        """
        if originals is None:
            raise UserError('regions are found in images at their own size: give originals')
        size = (inputs.shape[2], inputs.shape[3])
        finder = MapProposals(self.regions, unclaimed='smallest')
        found = []
        for number, image in enumerate(originals):
            masks = finder.proposals(image, None if names is None else names[number])
            certain = torch.from_numpy(masks).to(inputs)
            # To the network's size, where the masks are cut out; nearest keeps them certain.
            certain = F.interpolate(certain[None], size=size, mode='nearest')[0]
            found.append(ImageProposals(mask_maps((2 * certain - 1) * _CERTAIN, size, size)))
        return found


def pad_to_divisor(inputs: Tensor) -> Tensor:
    """Images with zeros to the right and at the bottom, up to multiples of 32.

    Args:
        inputs: (B, 3, H, W), normalised.
    """
    height, width = inputs.shape[2:]
    return F.pad(inputs, (0, -width % _DIVISOR, 0, -height % _DIVISOR))
