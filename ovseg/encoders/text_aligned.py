"""What a backbone gives whose last stage lies in CLIP's text space."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
