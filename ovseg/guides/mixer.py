"""Mixers: what takes the place of CLIP's last attention, told by others what belongs together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ovseg.encoders.clip_vit import CLIPViTEncoder


@dataclass(frozen=True, eq=False)
class Look:
    """What is known of a batch of windows beside CLIP's own tokens.

    Attributes:
        features: (B, C, h, w) of a companion, not normalised.
        regions: (B, h', w') int64, what belongs together; the smallest id of a window is what
            nothing claimed. None: nothing is known.
        ordinary: mean similarity that counts as ordinary, (B,) or a scalar, where it is taken over
            more than each window by itself; None for each window's own.
    """

    features: Tensor
    regions: Tensor | None = None
    ordinary: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the features, on which values are mixed."""
        return self.features.shape[2], self.features.shape[3]


class Mixer(Protocol):
    """``windows, look -> tokens after CLIP's last block``, on the look's grid."""

    @property
    def normed(self) -> bool:
        """Whether the tokens went through the tower's final norm already."""
        ...

    def __call__(self, clip: CLIPViTEncoder, image: Tensor, look: Look) -> Tensor:
        """Mixes what the last attention of CLIP would have.

        Args:
            clip: the encoder, whose trunk and values are read.
            image: (B, 3, H, W), normalised and padded for it.
            look: at the same windows.

        Returns:
            (B, C, h, w).
        """
        ...
