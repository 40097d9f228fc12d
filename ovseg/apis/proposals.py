"""Mask proposals of a trained model, one image at a time, for tools that want no words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.regions.mask_maps import masks_at
from ovseg.segmentors.mask_segmentor import ProposalEncoding

_STRIPS = MemoryBudget(64)


class ModelProposals:
    """A :class:`~ovseg.regions.region_proposals.ProposalSource`: the masks of an ``OVSeg`` model.

    Args:
        model: a config of an ``OVSeg``. One that does not ask CLIP about regions
            (``ensemble=dict(enabled=False)``, as trainings have it) saves the time for that.
        checkpoint: of its MaskFormer.
        device: as in :class:`OpenVocabSegmenter`.

    Raises:
        UserError: a model without proposals; see also :class:`OpenVocabSegmenter`.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self._segmenter = OpenVocabSegmenter(model, checkpoint, device)
        if not self._segmenter.model.finds_segments:
            raise UserError(
                f'{self._segmenter.name} proposes no masks: give the config of an OVSeg'
            )

    def proposals(
        self, image: npt.NDArray[np.uint8], name: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Mask probabilities (Q, H, W) at the image's own size.

        Args:
            image: (H, W, 3) RGB.
            name: of the image; trained proposals do not look at it.
        """
        encoding: ProposalEncoding = self._segmenter.encode(image).encoding
        masks = masks_at(encoding.proposals.maps, (image.shape[0], image.shape[1]))
        full = np.empty((masks.channels, *masks.size), np.float32)
        for start, stop in masks.strips(_STRIPS):
            full[:, start:stop] = masks.rows(start, stop).cpu().numpy()
        return full
