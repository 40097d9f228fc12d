"""What a refiner of score maps on the patch grid offers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.text.classifier import Classifier


class GridRefiner(Protocol):
    """``score maps of a patch grid -> better ones``; registered, and named by a config.

    A refiner at the image's own size is a :class:`~ovseg.scores.pixel_refiner.PixelRefiner`.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Optional fields of the features that it reads."""
        ...

    @property
    def gives_probabilities(self) -> bool:
        """Whether it gives probabilities instead of scores."""
        ...

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """Refines.

        Args:
            scores: (B, P, h, w), one map a row of the classifier.
            features: of the same images, with the fields of ``needs``.
            classifier: whose rows were asked.

        Returns:
            (B, P, h, w).
        """
        ...


def check_share(value: float, where: str) -> None:
    """Raise unless a setting lies in [0, 1].

    Args:
        value: of the setting.
        where: its key, for the message.
    """
    if not 0 <= value <= 1:
        raise UserError(f'{where} must lie in [0, 1], got {value}')
