"""What SAM 3 said of phrases in an image, kept as long as the encoded image: asked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.sam3_concepts import ConceptFeatures, ConceptModel, Phrases
from ovseg.images.windows import Box
from ovseg.locks import Lock
from ovseg.scores.phrase_answers import answers_of, heads_of
from ovseg.scores.phrase_maps import Fusion, PhraseAnswer
from ovseg.segmentors.sam3_boxes import Shown


@dataclass(frozen=True, eq=False)
class ConceptEncoding:
    """One image after SAM 3's vision encoder: all that any phrases need to be asked about it.

    Attributes:
        features: of its windows, batch dimension = windows; None where the dense model alone was
            to look, and SAM 3 does when it is first asked.
        boxes: where each window lies in the input, (y1, x1, y2, x2), end exclusive.
        input_size: (height, width) of the input in pixels.
        image: (3, H, W) uint8 RGB, the input, for a cheap look at it.
        text_space: fingerprint of the text tower whose phrases it can be asked about.
        shown: boxes that say what a class means in this image, by the class's name.
    """

    features: ConceptFeatures | None
    boxes: list[Box]
    input_size: tuple[int, int]
    image: Tensor
    text_space: str = ''
    shown: Shown = ()

    @property
    def is_finite(self) -> bool:
        """Whether the features are numbers."""
        return self.features is None or self.features.is_finite


@dataclass
class ImageAnswers:
    """What is known of one image.

    Attributes:
        windows: for each window answers by a phrase's key.
        presence: of the preview, by a phrase's key.
        looks: what else was seen of the image, by a name.
    """

    windows: list[dict[bytes, PhraseAnswer]]
    presence: dict[bytes, float] = field(default_factory=dict)
    looks: dict[str, Any] = field(default_factory=dict)


class KeptAnswers:
    """Answers by encoded image; copies and pickles of it begin anew.

    A changed threshold, a class less or synonyms in another grouping cost no network; a new word
    costs one phrase.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[ConceptEncoding, ImageAnswers] = WeakKeyDictionary()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return KeptAnswers, ()

    def of(self, encoding: ConceptEncoding) -> ImageAnswers:
        """What is known of an image; empty at first.

        Args:
            encoding: of the image.
        """
        with self._lock:
            if encoding not in self._of:
                self._of[encoding] = ImageAnswers([{} for _ in encoding.boxes])
            return self._of[encoding]

    def share(self, encoding: ConceptEncoding, other: ConceptEncoding) -> None:
        """Has two encodings of one image know the same: keys tell what each was asked with.

        Args:
            encoding: that was asked before.
            other: that knows nothing yet.
        """
        known = self.of(encoding)
        with self._lock:
            self._of[other] = known

    def forget(self) -> None:
        """Leaves nothing: the weights or the fusion have changed."""
        with self._lock:
            self._of = WeakKeyDictionary()


def ask_missing(
    model: ConceptModel,
    features: ConceptFeatures,
    known: dict[bytes, PhraseAnswer],
    asked: Mapping[bytes, int],
    phrases: Phrases,
    fusion: Fusion,
    budget: MemoryBudget,
    bucket: int | None = None,
    shown: Tensor | None = None,
) -> None:
    """Asks a window about the phrases that it was not asked about yet, block by block.

    Args:
        model: is asked.
        features: of the window.
        known: answers by key; gets the new ones.
        asked: index of each phrase by its key.
        phrases: of all rows.
        fusion: says which heads are needed.
        budget: what a block may take.
        bucket: phrases of a block at most.
        shown: tokens of boxes beside these phrases, see
            :meth:`~ovseg.encoders.sam3_concepts.ConceptModel.box_tokens`.
    """
    missing = [index for key, index in asked.items() if key not in known]
    keys = {index: key for key, index in asked.items()}
    wanted = heads_of(fusion)
    side = features.levels[2].shape[-1] * model.patch
    size = budget.at_once(model.bytes_a_phrase(side, masks=True))
    size = size if bucket is None else min(size, bucket)
    for start in range(0, len(missing), size):
        block = missing[start : start + size]
        # The rule that sums takes the threshold itself, too.
        keep_above = fusion.confidence - (1e-6 if fusion.instances == 'sum' else 0)
        part = phrases[torch.tensor(block, device=phrases.tokens.device)]
        heads = model.ask(features, part, wanted, keep_above, shown)
        for row, answer in enumerate(answers_of(heads, fusion)):
            known[keys[block[row]]] = answer
