"""The second look at mask proposals: each valid region through the mask-adapted CLIP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.regions.mask_classifier import MaskFeatures, MaskView
from ovseg.regions.mask_maps import mask_probabilities, select_queries
from ovseg.regions.region_crops import Crops, RegionSettings, crop_regions
from ovseg.regions.region_scores import region_probabilities
from ovseg.scores.row_map import WindowMaps
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.text.cosine import cosine_logits

# Live values while a mask is made full-size: logits, probabilities, what is above the threshold.
_MASK_COPIES = 3
# Live values a token and channel in a block: tokens, queries, keys, values, hidden units twice.
_TOKEN_COPIES = 14


@dataclass(frozen=True, eq=False)
class CropClassifier:
    """Names masks by a CLIP that was adapted to masked regions; OVSeg's mask classifier.

    Attributes:
        tower: the mask-adapted CLIP.
        settings: how regions are cut out.
        mask_prompts: blank patches become prompts; False for plain CLIP on the same crops.

    Source: OVSeg (arXiv 2210.04150) section 3.
    """

    tower: MaskPromptedViT
    settings: RegionSettings
    mask_prompts: bool = True

    def look(self, view: MaskView) -> MaskFeatures:
        """See :class:`~ovseg.regions.mask_classifier.MaskClassifier`."""
        return embed_regions(self.tower, view.image, view.masks, self.settings, self.mask_prompts)

    def probabilities(self, features: MaskFeatures, classifier: Classifier) -> Tensor:
        """See :class:`~ovseg.regions.mask_classifier.MaskClassifier`."""
        logits = cosine_logits(features.embeddings, classifier.weight)
        return region_probabilities(logits, len(classifier.weight))


def embed_regions(
    tower: MaskPromptedViT,
    image: Tensor,
    maps: WindowMaps,
    settings: RegionSettings,
    mask_prompts: bool = True,
) -> MaskFeatures:
    """Cuts out every valid mask and encodes it.

    Full-size masks exist for a few queries at a time, and a few regions go through the tower at a
    time, both within ``settings.batch_megabytes``.

    Args:
        tower: the mask-adapted CLIP.
        image: (3, H, W) RGB in [0, 255], neither normalised nor padded.
        maps: mask logits, of :func:`~ovseg.regions.mask_maps.mask_maps`; their input size is
            the image's.
        settings: how regions are cut out.
        mask_prompts: blank patches become prompts; False for plain CLIP on the same crops.

    Returns:
        Embeddings in the order of the valid queries.

    Raises:
        UserError: image, masks and tower do not fit each other.
    """
    crops = crop_proposals(image, maps, settings)
    table = tower.positional_embedding
    at_once = _per_batch(settings, table.numel() * _TOKEN_COPIES, table)
    parts = [table.new_empty(0, tower.output_dim)]
    for start in range(0, len(crops.images), at_once):
        part = slice(start, start + at_once)
        shown = crops.masks[part] if mask_prompts else None
        with stage('region encoder'):
            parts.append(tower(crops.images[part].to(table.dtype), shown))
    return MaskFeatures(torch.cat(parts), crops.valid)


def crop_proposals(image: Tensor, maps: WindowMaps, settings: RegionSettings) -> Crops:
    """Cuts out every valid mask of proposals that are not full-size yet.

    Args:
        image: (3, H, W) RGB in [0, 255].
        maps: mask logits, see :func:`embed_regions`.
        settings: how regions are cut out.
    """
    logits = maps.maps[0]
    height, width = maps.size
    # A resize makes no value larger than the largest: most queries need not be made full-size.
    hopeful = (logits.flatten(1).amax(1).sigmoid() >= settings.threshold).nonzero().flatten()
    at_once = _per_batch(settings, height * width * _MASK_COPIES, logits)
    # Without queries, still one part without regions: it knows the shapes and checks the image.
    parts = [
        crop_regions(image, mask_probabilities(select_queries(maps, queries)), settings)
        for queries in hopeful.split(at_once)
    ]
    valid = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    valid[hopeful] = torch.cat([part.valid for part in parts])
    images, masks, boxes = (
        torch.cat([getattr(part, name) for part in parts]) for name in ('images', 'masks', 'boxes')
    )
    return Crops(images, masks, boxes, valid)


def _per_batch(settings: RegionSettings, values: int, like: Tensor) -> int:
    """How many things of so many values fit into the settings' memory, at least one."""
    return MemoryBudget(settings.batch_megabytes).at_once(values * like.element_size())
