"""Mask proposals of a trained model, one image at a time, for tools that want no words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.scores.upsample import output_strips
from ovseg.segmentors.mask_adapted_clip import ProposalEncoding

_STRIP_BYTES = 64 * 2**20


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
        if not hasattr(self._segmenter.model, 'proposals'):
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
        maps = encoding.proposals.maps
        size = image.shape[:2]
        masks = np.empty((maps.maps.shape[1], *size), np.float32)
        for start, stop, rows in output_strips(maps, size, _STRIP_BYTES, torch.sigmoid):
            masks[:, start:stop] = rows.cpu().numpy()
        return masks
