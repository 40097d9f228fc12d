"""What SAM's image encoder leaves of one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SAMImage:
    """One image as SAM's prompt side needs it.

    Attributes:
        features: (1, C, h, w), the encoder's neck output of the whole padded frame.
        input_size: (height, width) of the resized image inside the frame.
        image_size: (height, width) of the image before it was resized to the frame;
            segment-anything's ``original_size``.
    """

    features: Tensor
    input_size: tuple[int, int]
    image_size: tuple[int, int]
