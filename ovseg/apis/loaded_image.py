"""An image between its file and a model's encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovseg.images.transport import Sent


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as it was read, and as an encoder will see it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        resized: (h, w, 3) uint8 RGB, the same after the model's resize rule.
        path: of its file, None for one in memory.
        sent: the latter on its way to a GPU; None: it travels with its batch.
        doubt: why the model may not know such images, a sentence; None: it may.
    """

    pixels: np.ndarray
    resized: np.ndarray
    path: str | None
    sent: Sent | None = None
    doubt: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of what the encoder sees; images of one size go through it together."""
        return self.resized.shape[0], self.resized.shape[1]
