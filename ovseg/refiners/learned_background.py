"""Learned background: unsure patches that show no object become background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ovseg.encoders.dense import DenseFeatures
from ovseg.errors import UserError
from ovseg.refiners.grid import check_share
from ovseg.registry import MODELS
from ovseg.text.classifier import Classifier

# A patch is an object where the foreground is likelier than not.
_IS_OBJECT = 0.5


def learned_background(
    probabilities: Tensor, foreground: Tensor, rows: Tensor, certainty: float
) -> Tensor:
    """Returns probabilities where unsure patches without an object are surely background.

    Args:
        probabilities: (B, P, h, w) over the rows.
        foreground: (B, 1, h, w) probability of an object.
        rows: indices of the background's rows; they get 1, all others keep their value.
        certainty: a patch is unsure if its best probability is under it, in [0, 1].

    Returns:
        (B, P, h, w); the input is left as it is.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.3; each image is judged by itself.
    """
    unsure = probabilities.amax(dim=1, keepdim=True) < certainty
    is_background = unsure & (foreground <= _IS_OBJECT)
    refined = probabilities.clone()
    refined[:, rows] = refined[:, rows].masked_fill(is_background, 1.0)
    return refined


@MODELS.register_module()
@dataclass(frozen=True)
class LearnedBackground:
    """See :func:`learned_background`.

    It reads probabilities, so :class:`ScoreSoftmax` comes before it, and the foreground that a
    guide found. Vocabularies without words for a background stay as they are.

    Attributes:
        certainty: in [0, 1]; published 0.99.
    """

    certainty: float = 0.99
    needs: ClassVar[frozenset[str]] = frozenset()
    gives_probabilities: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the certainty."""
        check_share(self.certainty, 'LearnedBackground.certainty')

    def __call__(self, scores: Tensor, features: DenseFeatures, classifier: Classifier) -> Tensor:
        """(B, P, h, w) probabilities -> the same, 1 for the background where it is surely that."""
        if features.foreground is None:
            raise UserError(
                'LearnedBackground needs a guide that finds the foreground; set model.guide '
                '(DINOiserGuide, or DINOTeacher with found) or take it out of model.refiners'
            )
        if classifier.background_index is None:
            return scores
        rows = (classifier.class_index == classifier.background_index).nonzero()[:, 0]
        return learned_background(scores, features.foreground, rows, self.certainty)
