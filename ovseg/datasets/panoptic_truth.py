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
