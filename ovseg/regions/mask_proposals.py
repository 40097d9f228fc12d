"""Where mask proposals come from: a network that embeds each of them, or any regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.regions.mask_maps import mask_maps
from ovseg.regions.region_maps import RegionSource
from ovseg.regions.region_proposals import MapProposals
from ovseg.registry import MODELS, build_part
from ovseg.scores.row_map import WindowMaps

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

    maps: WindowMaps
    embeddings: Tensor | None = None


class ProposalStage(Protocol):
    """``images -> masks``, as the segmentor asks for them: batches at the size of the network."""

    @property
    def reads(self) -> frozenset[str]:
        """What it looks at beside the inputs, see :class:`~ovseg.images.Images`."""
        ...

    def propose(self, images: Images) -> list[ImageProposals]:
        """Proposes masks for a batch of images of one size.

        Args:
            images: their inputs normalised, not padded.
        """
        ...


@MODELS.register_module()
class RegionProposals(nn.Module):
    """Regions of SAM or from files as proposals: certain masks that only CLIP can name.

    Args:
        regions: config of a :class:`~ovseg.regions.region_maps.RegionSource`.
    """

    def __init__(self, regions: Mapping[str, Any] | RegionSource) -> None:
        super().__init__()
        self.regions = build_part(regions) if isinstance(regions, Mapping) else regions

    @property
    def reads(self) -> frozenset[str]:
        """The images at their own size, and their names where the source looks files up."""
        return frozenset({'originals', 'names'} if self.regions.needs_names else {'originals'})

    def __repr__(self) -> str:
        return f'RegionProposals({self.regions!r})'

    @torch.no_grad()
    def propose(self, images: Images) -> list[ImageProposals]:
        """See :class:`ProposalStage`.

        The smallest id of a map, what no region claimed, is left out where there are others.

        Raises:
            UserError: no images at their own size.
        """
        if images.originals is None:
            raise UserError('regions are found in images at their own size: give originals')
        size, names = images.size, images.names
        finder = MapProposals(self.regions, unclaimed='smallest')
        found = []
        for number, image in enumerate(images.originals):
            masks = finder.proposals(image, None if names is None else names[number])
            certain = torch.from_numpy(masks).to(images.inputs)
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
