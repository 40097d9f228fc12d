"""What encoders of images return, and the contract that every frozen dense one keeps."""

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
        mlp_input: (B, C, h, w) what the MLP of the encoder's ``mlp_input_layer`` reads, or None.
        foreground: (B, 1, h, w) logits of "this is an object", filled by a guide, or None.
        intermediates: (B, C, h, w) maps after the layers that were asked for, in that order.
    """

    patch: Tensor
    keys: Tensor | None = None
    queries: Tensor | None = None
    tokens: Tensor | None = None
    embedding: Tensor | None = None
    mlp_input: Tensor | None = None
    foreground: Tensor | None = None
    intermediates: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class TextAlignedFeatures:
    """Feature pyramid of an image batch, and its embeddings in the text space.

    Attributes:
        levels: (B, C_i, h_i, w_i) each, fine to coarse (strides 4, 8, 16, 32), as necks of mmseg
            and mmdet take them.
        global_embedding: (B, D), the image as a whole, not normalised.
        dense_embedding: (B, D, h, w), the same space at each position, not normalised.
    """

    levels: tuple[Tensor, ...]
    global_embedding: Tensor
    dense_embedding: Tensor


class DenseEncoder(Protocol):
    """``image -> DenseFeatures``: any image size, non-square, any batch size, no state changed.

    Attributes:
        embed_dim: D.
        stride: pixels per patch, (height, width).
        has_patch_grid: whether every feature stands for one patch of ``stride`` pixels, as in a
            ViT; a ResNet's poolings round down.
    """

    embed_dim: int
    stride: tuple[int, int]
    has_patch_grid: bool

    def pad(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) filled up to what the encoder takes."""
        ...

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
                ``{'keys', 'queries', 'tokens', 'embedding', 'mlp_input'}``.
            layers: layers whose outputs are wanted as maps, counted from 1.
        """
        ...

    def margins(self, size: tuple[int, int]) -> Margins:
        """How far the feature map reaches beyond an image of that (height, width)."""
        ...
