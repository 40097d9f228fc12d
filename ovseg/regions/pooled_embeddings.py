"""The second look at mask proposals: CLIP's own last map under each mask, no second pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg.encoders.clip_pyramid import CLIPPyramid
from ovseg.encoders.mask_pooling import masks_on
from ovseg.regions.mask_classifier import MaskFeatures, MaskView
from ovseg.regions.region_scores import region_probabilities
from ovseg.text import Classifier
from ovseg.text.cosine import cosine_logits


@dataclass(frozen=True, eq=False)
class PooledClassifier:
    """Names masks by the last map of the CLIP that their proposals were decoded from.

    Attributes:
        pyramid: the CLIP.
        only_filled: masks that cover no place of the last map are not valid, so that the
            proposals' own classes name them alone. Published for ResNets; with a ConvNeXt all
            masks are valid.
        scale: of the cosines.

    Source: FC-CLIP (arXiv 2308.02487) section 3.3.
    """

    pyramid: CLIPPyramid
    only_filled: bool = False
    scale: float = 100.0

    def look(self, view: MaskView) -> MaskFeatures:
        """See :class:`~ovseg.regions.mask_classifier.MaskClassifier`."""
        dense, masks = view.levels[-1][None], view.masks.maps
        embeddings = self.pyramid.embed_masks(dense.float(), masks.float())[0]
        valid = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
        if self.only_filled:
            valid = self.filled(dense, masks)[0]
        return MaskFeatures(embeddings[valid], valid)

    def filled(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """Which masks cover a place of the last map, (B, Q) bool.

        Args:
            dense: (B, C, h, w).
            mask_logits: (B, Q, H, W).
        """
        size = (dense.shape[2], dense.shape[3])
        return (masks_on(mask_logits, size) > 0).flatten(2).any(2)

    def probabilities(self, features: MaskFeatures, classifier: Classifier) -> Tensor:
        """See :class:`~ovseg.regions.mask_classifier.MaskClassifier`."""
        logits = cosine_logits(features.embeddings, classifier.weight, self.scale)
        return region_probabilities(logits, len(classifier.weight))

    def class_logits(self, features: MaskFeatures, classifier: Classifier) -> Tensor:
        """Class logits (N, K) of the valid masks: the best row of a class is its own.

        Args:
            features: of :meth:`look`.
            classifier: its rows are asked.
        """
        rows = cosine_logits(features.embeddings, classifier.weight, self.scale)
        return classifier.groups.class_scores(rows)
