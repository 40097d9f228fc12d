"""Who names masks: what looks at each of them once, and then answers any words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ovseg.scores.row_map import WindowMaps
from ovseg.text import Classifier


@dataclass(frozen=True, eq=False)
class MaskView:
    """One image and its masks, as a mask classifier sees them.

    Attributes:
        image: (3, H, W) RGB in [0, 255], whole numbers, neither normalised nor padded.
        inputs: (3, H, W), the same as the network takes it.
        masks: logits of Q masks, of :func:`~ovseg.regions.mask_maps.mask_maps`.
        levels: (C, h, w) each, of the backbone that proposed the masks, fine to coarse, over the
            padded image; empty where another source proposed them.
    """

    image: Tensor
    inputs: Tensor
    masks: WindowMaps
    levels: Sequence[Tensor] = ()


@dataclass(frozen=True, eq=False)
class MaskFeatures:
    """What a mask classifier saw, whatever words will be asked.

    Attributes:
        embeddings: (N, E), not normalised.
        valid: (Q,) bool, the masks that have an embedding; N of them.
    """

    embeddings: Tensor
    valid: Tensor


class MaskClassifier(Protocol):
    """``features, masks, rows -> scores``, in two steps: the slow one knows no words."""

    def look(self, view: MaskView) -> MaskFeatures:
        """Embeds the masks of an image.

        Args:
            view: the image and its masks.
        """
        ...

    def probabilities(self, features: MaskFeatures, classifier: Classifier) -> Tensor:
        """(N, P) probabilities of the valid masks, a column for each row of a classifier.

        Args:
            features: of :meth:`look`.
            classifier: its rows are asked.
        """
        ...
