"""A trained backbone and decoder in the place of a dense encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import DenseFeatures
from ovseg.encoders.dense import NO_MARGINS, Margins

# A cell of the coarsest level: the poolings of some backbones reduce what is smaller to nothing.
LEAST_SIDE = 32


class TrainedEncoder:
    """Gives what ``encode_images`` asks of an encoder; its map is stretched over the image.

    Args:
        compute: (B, 3, H, W) -> (B, D, h, w) in the text space.
        embed_dim: D.
        least_side: pixels a side that the backbone needs; smaller images are stretched to them, as
            their map is stretched over them.
    """

    has_patch_grid = False
    stride = (1, 1)  # of a patch grid, which there is not: nobody reads it

    def __init__(
        self, compute: Callable[[Tensor], Tensor], embed_dim: int, least_side: int = 1
    ) -> None:
        self._compute = compute
        self.embed_dim = embed_dim
        self.least_side = least_side

    def __call__(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images (B, 3, H, W); there are no optional outputs."""
        return DenseFeatures(patch=self._compute(self.pad(image)))

    def pad(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) with no side below the least."""
        height, width = (max(side, self.least_side) for side in image.shape[-2:])
        if (height, width) == tuple(image.shape[-2:]):
            return image
        return F.interpolate(image, (height, width), mode='bilinear', align_corners=False)

    def margins(self, size: tuple[int, int]) -> Margins:
        """Nothing reaches beyond the image."""
        return NO_MARGINS
