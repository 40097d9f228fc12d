"""Images as a segmentor takes them: the network's inputs, and what else a method may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images of one size.

    Attributes:
        inputs: (B, 3, H, W), from the data preprocessor.
        originals: the same images before any resize, each (H', W', 3) uint8 RGB; None where nobody
            kept them. Only segmentors whose ``reads`` has ``'originals'`` look at them.
        names: the images' paths, None for an image without one; None where nobody kept them. For
            segmentors whose ``reads`` has ``'names'`` or ``'paths'``.

    Raises:
        ValueError: shapes or lengths that do not fit each other.
    """

    inputs: Tensor
    originals: Sequence[np.ndarray] | None = None
    names: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        if self.inputs.ndim != 4:
            raise ValueError(f'inputs must be (B, 3, H, W), got {tuple(self.inputs.shape)}')
        for name in ('originals', 'names'):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.inputs):
                raise ValueError(f'{len(self.inputs)} images have {len(given)} {name}')

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, part: slice) -> Images:
        """Some of the images, as a batch of their own."""
        return Images(
            self.inputs[part],
            None if self.originals is None else self.originals[part],
            None if self.names is None else self.names[part],
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the inputs in pixels."""
        return self.inputs.shape[2], self.inputs.shape[3]
