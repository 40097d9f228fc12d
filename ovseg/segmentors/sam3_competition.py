"""Classes that compete on one scale, after CoCo-SAM3; nothing to compare with was released.

Source: the abstract of CoCo-SAM3 (arXiv 2604.19648): synonyms are aligned and aggregated within a
class, then classes compete. The formula, its weight and the choice of features are those of an
independent re-implementation, the temperature is said to be the paper's. No parity is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from ovseg.encoders.sam3_concepts import ConceptFeatures
from ovseg.errors import UserError
from ovseg.scores.row_map import ALL, Channels, DerivedMap, RowMap, WindowMaps
from ovseg.segmentors.sam3_answers import ConceptEncoding
from ovseg.segmentors.sam3_words import PhraseClassifier

# A score of 0 or 1 has no finite logit.
_EDGE = 1e-6


@dataclass(frozen=True)
class Competition:
    """How strongly classes compete.

    Attributes:
        temperature: of the cosines of phrases and places.
        weight: of the logarithm of a class's share.

    Raises:
        UserError: numbers out of range.
    """

    temperature: float = 0.1
    weight: float = 0.7

    def __post_init__(self) -> None:
        if not self.temperature > 0 or self.weight < 0:
            raise UserError(
                'competition takes a temperature above 0 and a weight of at least 0, got '
                f'{self.temperature} and {self.weight}'
            )


def log_shares(
    features: ConceptFeatures,
    encoding: ConceptEncoding,
    classifier: PhraseClassifier,
    settings: Competition,
) -> RowMap:
    """Logarithms of the classes' shares (P rows, each its class's) at the input size.

    A class's share is a softmax over classes of the log-sum-exp, over synonyms, of the cosine of a
    phrase's mean token and a place of the coarsest level.

    Args:
        features: of its windows.
        encoding: of the image.
        classifier: of the words.
        settings: the temperature.
    """
    places = F.normalize(features.levels[2].float(), dim=1)
    cosines = torch.einsum('pc,bchw->bphw', classifier.weight, places) / settings.temperature
    index = classifier.class_index
    of_class = cosines.new_full(
        (len(places), classifier.num_classes, *places.shape[2:]), -torch.inf
    )
    for label in index.unique().tolist():
        of_class[:, label] = cosines[:, index == label].logsumexp(1)
    return WindowMaps(of_class.log_softmax(1)[:, index], encoding.boxes, encoding.input_size)


@dataclass(frozen=True, eq=False)
class CompetingMaps(DerivedMap):
    """Scores ``sigmoid(logit(score) + weight log(share))``; a phrase that was not asked stays 0.

    Attributes:
        shares: logarithms of the same rows and size.
        settings: the weight.
    """

    source: RowMap
    shares: RowMap
    settings: Competition

    @property
    @override
    def values_a_row(self) -> float:
        return self.source.values_a_row + self.shares.values_a_row

    @override
    def rows(self, start: int, stop: int, channels: Channels = ALL) -> Tensor:
        scores = self.source.rows(start, stop, channels)
        logits = scores.clamp(_EDGE, 1 - _EDGE).logit()
        competed = (
            logits + self.settings.weight * self.shares.rows(start, stop, channels)
        ).sigmoid()
        return torch.where(scores > 0, competed, 0.0)
