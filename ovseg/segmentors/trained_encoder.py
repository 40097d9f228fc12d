"""A trained backbone and decoder in the place of a dense encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ovseg.encoders import DenseFeatures
from ovseg.encoders.dense import NO_MARGINS, Margins


class TrainedEncoder:
    """Gives what ``encode_images`` asks of an encoder; its map is stretched over the image.

    Args:
        compute: (B, 3, H, W) -> (B, D, h, w) in the text space.
        embed_dim: D.
    """

    has_patch_grid = False
    stride = (1, 1)  # of a patch grid, which there is not: nobody reads it

    def __init__(self, compute: Callable[[Tensor], Tensor], embed_dim: int) -> None:
        self._compute = compute
        self.embed_dim = embed_dim

    def __call__(
        self, image: Tensor, outputs: frozenset[str] = frozenset(), layers: Sequence[int] = ()
    ) -> DenseFeatures:
        """Encodes images (B, 3, H, W); there are no optional outputs."""
        return DenseFeatures(patch=self._compute(image))

    def pad(self, image: Tensor) -> Tensor:
        """Images as they are: the backbone takes any size."""
        return image

    def margins(self, size: tuple[int, int]) -> Margins:
        """Nothing reaches beyond the image."""
        return NO_MARGINS
