"""What a SAM of any version is asked, and what it answers: points, boxes and rough masks, masks.

A SAM looks at an image once (:meth:`PromptedSAM.embed`) and then says for each prompt which pixels
belong to what is pointed at. Versions differ in how an image lies in their frame, and in what they
keep of it; who asks needs to know neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """What SAM is told about n regions, in pixels of its frame.

    Attributes:
        points: (n, 1, 2), (x, y).
        boxes: (n, 4), (x1, y1, x2, y2).
        masks: (m, 1, s, s), a mask input for each of the m classes that have regions; None for
            none.
        mask_index: (n,) int64, ascending: which mask input is a region's.
    """

    points: Tensor
    boxes: Tensor
    masks: Tensor | None
    mask_index: Tensor


@dataclass(frozen=True)
class Decoded:
    """What SAM answered to n prompts.

    Attributes:
        low_res: (n, s, s), the masks' logits on the frame, at the size of a mask input.
        iou: (n,), how well each mask fits by SAM's own estimate.
    """

    low_res: Tensor
    iou: Tensor


@dataclass(frozen=True)
class SAMImage:
    """What SAM's image encoder leaves of an image, as the prompt side needs it.

    Attributes:
        features: (1, C, h, w), the embedding of the whole frame.
        input_size: (height, width) of the part of the canvas that shows the image, from the top
            left.
        image_size: (height, width) of the image before it was resized to the frame;
            segment-anything's ``original_size``.
        canvas: (height, width) to which masks are resized first: a padded frame, or the image's own
            size where a frame has no padding.
        finer: (1, C', h', w') each, what SAM 2 keeps beside it on finer grids, the finest first.
    """

    features: Tensor
    input_size: tuple[int, int]
    image_size: tuple[int, int]
    canvas: tuple[int, int]
    finer: tuple[Tensor, ...] = ()


class PromptedSAM(Protocol):
    """A SAM that can be prompted, frozen.

    Attributes:
        name: of the architecture.
        weights: file name, ``'embedded'`` or ``'random'``.
        frame: side of the square that images are brought to, in pixels.
        mask_side: side of mask inputs and of the masks' logits.
        mask_threshold: logits above it belong to the mask.
    """

    name: str
    weights: str
    frame: int

    @property
    def mask_side(self) -> int:
        """See above."""
        ...

    @property
    def mask_threshold(self) -> float:
        """See above."""
        ...

    def inside(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """(height, width) that an image takes in a square of the given side, from the top left.

        Args:
            image_size: (height, width) of the image.
            side: of the frame, or of a mask input.
        """
        ...

    def embed(self, image: np.ndarray) -> SAMImage:
        """Looks at an image.

        Args:
            image: (H, W, 3) uint8 RGB, any size.
        """
        ...

    def decode(self, image: SAMImage, prompts: Prompts, prompt_batch: int) -> Decoded:
        """The masks of all prompts, in float32, some prompts at a time.

        Args:
            image: from :meth:`embed`.
            prompts: n of them; without any, nothing runs.
            prompt_batch: prompts at once.
        """
        ...


def to_frame(coordinates: Tensor, image_size: tuple[int, int], inside: tuple[int, int]) -> Tensor:
    """Coordinates of an image in pixels of the frame, float32.

    Args:
        coordinates: (..., 2) (x, y), or (..., 4) boxes, in pixels of the image.
        image_size: (height, width) of the image.
        inside: (height, width) that it takes in the frame, see :meth:`PromptedSAM.inside`.

    Example:
        >>> to_frame(torch.tensor([10, 20]), (64, 128), (512, 1024)).tolist()
        [80.0, 160.0]
    """
    factors = [now / before for now, before in zip(inside[::-1], image_size[::-1], strict=True)]
    scale = torch.tensor(factors, device=coordinates.device)
    return coordinates.float() * scale.repeat(coordinates.shape[-1] // 2)
