"""Which region of an image a noun of its caption means, as CLIP sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.clip import LoadedCLIP
from ovseg.regions.region_crops import RegionSettings, crop_regions
from ovseg.text import TextEncoder
from ovseg.text.prompts import average_sentences
from ovseg.vocabulary.templates import fill_template, get_templates


@dataclass(frozen=True)
class NamedRegion:
    """A region and the noun for it.

    Attributes:
        noun: as given.
        query: number of its mask among those given.
        image: (3, S, S) uint8 RGB, its surroundings painted over.
        mask: (S, S) bool, where it is.
        similarity: cosine of the two in CLIP.
    """

    noun: str
    query: int
    image: Tensor
    mask: Tensor
    similarity: float


class RegionNamer:
    """Gives each noun the region that is nearest to it in CLIP's space.

    Nothing is shown of a region but itself, so CLIP looks at it as OVSeg's second stage will.

    Args:
        clip: not adapted to masks yet.
        templates: what ``get_templates`` takes; nouns are put into them, and their unit vectors
            averaged.
        threshold: a pixel belongs to a mask of a higher probability.
        fill: colour around regions, RGB in 0..255; None for the mean of CLIP's normalisation in
            whole numbers, with which OVSeg's second stage fills.
        batch_size: regions that CLIP looks at together.

    Source: OVSeg (arXiv 2210.04150) section 3.2, "collecting diverse mask-category pairs".
    """

    def __init__(
        self,
        clip: LoadedCLIP,
        templates: str | Path | Sequence[str] = 'vild-14',
        threshold: float = 0.4,
        fill: Sequence[int] | None = None,
        batch_size: int = 64,
    ) -> None:
        self._visual = clip.model.visual
        self._mean, self._std = (
            torch.tensor(value).view(1, 3, 1, 1) for value in (clip.mean, clip.std)
        )
        self.fill = tuple(round(255 * mean) for mean in clip.mean) if fill is None else tuple(fill)
        side = self._visual.image_size
        self._crops = RegionSettings(
            threshold=threshold,
            fill=self.fill,
            size=side if isinstance(side, int) else side[0],
            # Left in 0..255: files hold what CLIP looks at.
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )
        self._templates = get_templates(templates)
        self._text = TextEncoder(clip.model, clip.tokenizer, cache_dir=None)
        self._rows: dict[str, Tensor] = {}
        self._batch_size = batch_size

    @torch.inference_mode()
    def name(self, image: Tensor, masks: Tensor, nouns: Sequence[str]) -> Iterator[NamedRegion]:
        """Finds a region for every noun; two nouns can get the same one.

        Args:
            image: (3, H, W) uint8 RGB.
            masks: (Q, H, W) bool or probabilities. Masks without a pixel are left out.
            nouns: of one caption.

        Yields:
            One for each noun, in their order; none without masks or nouns.
        """
        if not nouns or not len(masks):
            return
        crops = crop_regions(image, masks.float(), self._crops)
        if not len(crops.images):
            return
        regions = crops.images.round().clamp(0, 255).byte()
        seen = torch.cat([self._look(part) for part in regions.split(self._batch_size)])
        similarity = torch.stack([self._read(noun) for noun in nouns]) @ seen.T
        queries = crops.valid.nonzero().flatten()
        for noun, row in zip(nouns, similarity, strict=True):
            best = int(row.argmax())
            mask = crops.masks[best, 0] > 0
            yield NamedRegion(noun, int(queries[best]), regions[best], mask, float(row[best]))

    def _look(self, regions: Tensor) -> Tensor:
        device = next(self._visual.parameters()).device
        images = (regions.float() / 255 - self._mean) / self._std
        return F.normalize(self._visual(images.to(device)).float(), dim=-1).cpu()

    def _read(self, noun: str) -> Tensor:
        if noun not in self._rows:
            sentences = [fill_template(template, noun) for template in self._templates]
            encoded = self._text.encode(sentences)
            self._rows[noun] = average_sentences(encoded, 'normalize_mean_normalize')
        return self._rows[noun]
