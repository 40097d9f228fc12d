"""What a guide says about an image, and how its word changes the features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ovseg.affinity.correlation import pool_by_affinity
from ovseg.encoders.dense import DenseFeatures


@dataclass(frozen=True)
class Guidance:
    """A guide's word about a batch of images on their patch grid.

    Attributes:
        affinity: (B, h*w, h*w), how much patch n (row) should take from each patch; not below 0.
        foreground: (B, 1, h, w) probability that a patch shows an object, or None.
    """

    affinity: Tensor
    foreground: Tensor | None = None


class Guide(Protocol):
    """``features, image -> Guidance``: any grid, any batch size.

    Attributes:
        needs: optional fields of :class:`DenseFeatures` that it reads.
    """

    needs: frozenset[str]

    def __call__(self, features: DenseFeatures, image: Tensor) -> Guidance:
        """Looks at images.

        Args:
            features: of the dense encoder, with the fields of ``needs``.
            image: (B, 3, H, W) RGB in [0, 1], what the encoder saw before normalisation.
        """
        ...


def apply_guide(guide: Guide, features: DenseFeatures, image: Tensor) -> DenseFeatures:
    """Returns features pooled by the guide's affinity, with its foreground.

    Args:
        guide: the guide.
        features: of the dense encoder.
        image: see :class:`Guide`.
    """
    guidance = guide(features, image)
    patch = pool_by_affinity(features.patch, guidance.affinity)
    # What only the guide reads is dropped: encoded images are kept for more questions.
    return replace(features, patch=patch, foreground=guidance.foreground, mlp_input=None)
