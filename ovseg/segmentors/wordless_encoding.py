"""An image whose masks follow the words: encoded once, its masks proposed when words are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.segmentors.mask_segmentor import ProposalEncoding
from ovseg.text import Classifier
from ovseg.training.heads.masked_decoding import PixelMaps


@dataclass(frozen=True, eq=False)
class WordlessEncoding:
    """One image after backbone and pixel decoder, which know no words.

    New words cost the rest of the decoder; the masks of the last ones are kept.

    Attributes:
        images: the image, a batch of one.
        maps: of the pixel decoder.
        levels: (1, C, h, w) each, of the backbone, fine to coarse.
        text_space: see :class:`~ovseg.scores.encoding.ImageEncoding`.
        propose: (this, who asks) -> masks and what is seen of them.
    """

    images: Images
    maps: PixelMaps
    levels: Sequence[Tensor]
    text_space: str
    propose: Callable[[WordlessEncoding, Classifier], ProposalEncoding]
    # The last who asked and what they got, one object, so that threads see both or none.
    _last: list[tuple[Classifier, ProposalEncoding]] = field(default_factory=list, repr=False)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input in pixels."""
        return self.images.size

    @property
    def is_finite(self) -> bool:
        """Whether the maps are numbers."""
        maps = (self.maps.mask_features, *self.maps.levels, self.levels[-1])
        return all(bool(torch.isfinite(part).all()) for part in maps)

    @property
    def proposals(self) -> NoReturn:
        """There are none yet.

        Raises:
            UserError: always.
        """
        raise UserError('the masks of this model follow the words: ask for labels or segments')

    def unasked(self) -> WordlessEncoding:
        """The same image, of which no masks are known."""
        return replace(self, _last=[])

    def asked(self, classifier: Classifier) -> ProposalEncoding:
        """Masks for the words of a classifier.

        Args:
            classifier: who asks.
        """
        for known, found in self._last:
            if known is classifier:
                return found
        found = self.propose(self, classifier)
        self._last[:] = [(classifier, found)]
        return found
