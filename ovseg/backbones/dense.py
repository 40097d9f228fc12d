"""What a dense encoder returns, and the contract that every one keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

# (top, bottom, left, right): how far a feature map reaches beyond its image, in pixels.
Margins = tuple[int, int, int, int]
NO_MARGINS: Margins = (0, 0, 0, 0)


@dataclass(frozen=True)
class DenseFeatures:
    """Features of a batch of images on a patch grid.

    Attributes:
        patch: (B, D, h, w) in the text space, not normalised.
        keys: (B, h*w, C) projected keys of the last attention, row-major, or None if not asked for.
        queries: (B, h*w, C), likewise.
        tokens: (B, C, h, w) before the projection into the text space, or None.
        embedding: (B, D) global image embedding, not normalised, or None.
        intermediates: (B, C, h, w) maps after the layers that were asked for, in that order.
    """

    patch: Tensor
    keys: Tensor | None = None
    queries: Tensor | None = None
    tokens: Tensor | None = None
    embedding: Tensor | None = None
    intermediates: tuple[Tensor, ...] = ()


class DenseEncoder(Protocol):
    """``image -> DenseFeatures``: any image size, non-square, any batch size, no state changed.

    Attributes:
        embed_dim: D.
        stride: pixels per patch, (height, width).
    """

    embed_dim: int
    stride: tuple[int, int]

    def __call__(
        self,
        image: Tensor,
        outputs: frozenset[str] = frozenset(),
        layers: Sequence[int] = (),
    ) -> DenseFeatures:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised.
            outputs: which optional fields of :class:`DenseFeatures` to fill, of
                ``{'keys', 'queries', 'tokens', 'embedding'}``.
            layers: layers whose outputs are wanted as maps, counted from 1.
        """
        ...

    def margins(self, size: tuple[int, int]) -> Margins:
        """How far the feature map reaches beyond an image of that (height, width)."""
        ...
