"""Regions that are instances of words: SAM 3's, as a source of region maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovseg.budget import MemoryBudget
from ovseg.encoders.sam3 import load_sam3
from ovseg.encoders.sam3_concepts import ConceptModel, Phrases, square_pixels
from ovseg.errors import UserError
from ovseg.precision import keep_precision
from ovseg.regions.region_maps import paint_masks
from ovseg.registry import MODELS
from ovseg.row_resize import resize_rows
from ovseg.scores.phrase_answers import answers_of, heads_of
from ovseg.scores.phrase_maps import Fusion
from ovseg.vocabulary import build_vocabulary

_BLOCKS = MemoryBudget(2048.0)


@MODELS.register_module()
class SAM3Regions(nn.Module):
    """SAM 3's instances of some words, the larger ones over the smaller.

    SAM 3 has no mode without words. Regions for methods that vote or mix within them, such as
    CorrCLIP, are then things of these classes; what is none of them stays unclaimed.

    Args:
        words: whatever a vocabulary is written as; which class a word belongs to plays no part.
        sam3: arguments of :func:`~ovseg.encoders.sam3.load_sam3`.
        confidence: in [0, 1]; instances that score above it, presence included, are regions.
        image_size: side in pixels of the square that images are squashed to; None for that of the
            weights.
        cache_dir: of the phrases on disk.

    Raises:
        UserError: words that cannot be read, or a confidence out of range; see also the loader.
    """

    needs_names = False

    def __init__(
        self,
        words: Any,
        sam3: Mapping[str, Any] | None = None,
        confidence: float = 0.3,
        image_size: int | None = None,
        cache_dir: str | None = 'default',
    ) -> None:
        super().__init__()
        vocabulary = build_vocabulary(words)
        if vocabulary is None:
            raise UserError("regions.words names no words; SAM 3 needs some: 'cat; sofa'")
        self.phrases: Sequence[str] = tuple(
            dict.fromkeys(word for entry in vocabulary for word in entry.prompts)
        )
        self.fusion = Fusion(confidence=confidence, semantic=False, instance_presence=0)
        self.sam3 = ConceptModel(load_sam3(**(sam3 or {})))
        # Thresholds decide here.
        keep_precision(self.sam3)
        self.image_size = image_size or self.sam3.image_size
        self._encoder = self.sam3.text_encoder(cache_dir)

    def __repr__(self) -> str:
        return f'SAM3Regions({self.sam3.weights}, {len(self.phrases)} phrases)'

    @torch.no_grad()
    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """See :class:`~ovseg.regions.region_maps.RegionSource`; 0 is what no instance covers."""
        device = next(self.sam3.parameters()).device
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(device)
        features = self.sam3.look(square_pixels(pixels, self.image_size))
        phrases = self.sam3.tower.phrases(self._encoder.encode(self.phrases)).to(device)
        size = (image.shape[0], image.shape[1])
        masks: list[np.ndarray] = []
        at_once = _BLOCKS.at_once(self.sam3.bytes_a_phrase(self.image_size))
        for start in range(0, len(phrases), at_once):
            masks += self._of_block(features, phrases[start : start + at_once], size)
        return paint_masks(masks, size)

    def _of_block(self, features: Any, phrases: Phrases, size: tuple[int, int]) -> list[np.ndarray]:
        heads = self.sam3.ask(features, phrases, heads_of(self.fusion), self.fusion.confidence)
        found: list[np.ndarray] = []
        for answer in answers_of(heads, self.fusion):
            for logits in answer.masks:
                inside: Tensor = resize_rows(logits[None].float(), 0, size[0], size)[0] > 0
                found.append(inside.cpu().numpy())
        return found
