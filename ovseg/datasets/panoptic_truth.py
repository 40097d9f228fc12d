"""What is where in an image, thing by thing: the truth that segments are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The value of pixels that belong to no segment; predictions there count for nothing.
VOID = 0


@dataclass(frozen=True)
class TrueSegment:
    """One segment of an image as the annotation has it.

    Attributes:
        id: its value in the id map, from 1.
        label: index of its class.
        area: in pixels, as the annotation says.
        is_crowd: whether it is a group of things that nobody told apart: what is found there
            counts neither for nor against a prediction.
    """

    id: int
    label: int
    area: int
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """The annotation of an image.

    Attributes:
        ids: (H, W) int32, the segment of each pixel; 0 where nothing was annotated.
        segments: what the ids stand for; an id without a segment is of a class that is not asked
            for.
    """

    ids: npt.NDArray[np.int32]
    segments: tuple[TrueSegment, ...]


def ids_of_colors(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """The id map (H, W) of a picture (H, W, 3) RGB in COCO's panoptic format.

    Source: COCO panoptic segmentation, data format: ``R + 256 G + 256^2 B``.

    Example:
        >>> ids_of_colors(np.array([[[7, 0, 0], [1, 2, 0]]], np.uint8))
        array([[  7, 513]], dtype=int32)
    """
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 256**2 * blue
