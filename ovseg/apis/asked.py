"""What a result was an answer to: kept beside it, so that it can be asked why."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.nearest_words import NearestWords
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovseg.apis.answering_model import AnsweringModel


@dataclass(frozen=True, eq=False)
class Asked:
    """The question of one result.

    Features are not kept alive, they would be a hundred times the label map: where nobody else
    holds the encoded image, it is encoded again.

    Attributes:
        segmenter: that answered.
        vocabulary: what was asked for.
        classifier: of the vocabulary.
        image: (H, W, 3) uint8 RGB.
        source: what the image is called.
        encoded: the encoded image, as long as somebody holds it.
    """

    segmenter: AnsweringModel
    vocabulary: Vocabulary
    classifier: Classifier
    image: np.ndarray
    source: str
    encoded: weakref.ReferenceType[EncodedImage]

    def explain(self, y: int, x: int) -> NearestWords:
        """See :meth:`~ovseg.apis.results.SegmentationResult.explain`."""
        encoded = self.encoded()
        if encoded is None:
            # Some methods look up what belongs to an image by its name.
            by_name = 'names' in self.segmenter.model.reads
            encoded = self.segmenter.encode(self.source if by_name else self.image)
        return self.segmenter.explain_pixel(encoded, self.vocabulary, self.classifier, (y, x))
