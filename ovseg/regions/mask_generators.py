"""Masks of everything in an image: a SAM asked at the points of a grid, whatever its version."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from torch import Tensor, nn

from ovseg.budget import MemoryBudget
from ovseg.encoders.prompted_sam import SAMImage
from ovseg.encoders.sam import LoadedSAM
from ovseg.encoders.sam2 import LoadedSAM2
from ovseg.encoders.sam2_prompted import SAM2
from ovseg.encoders.sam_encoder import FrameResize
from ovseg.encoders.sams import load_any_sam
from ovseg.errors import UserError
from ovseg.settings import read_settings

# Of masks at the size of the image; some copies of them live at a time.
_MASKS = MemoryBudget(256.0)
_BYTES_A_PIXEL = 8  # a logit, and what is told of it


class MaskGenerator(nn.Module):
    """A SAM that masks everything.

    Attributes:
        sam: the network.
        weights: see :class:`~ovseg.encoders.sam.LoadedSAM`.
    """

    sam: nn.Module
    weights: str

    @abstractmethod
    def masks(self, image: np.ndarray) -> list[np.ndarray]:
        """Masks of an image, which may overlap.

        Args:
            image: (H, W, 3) uint8 RGB, any size.

        Returns:
            (H, W) bool each.
        """


def build_mask_generator(sam: Mapping[str, Any], settings: Mapping[str, Any]) -> MaskGenerator:
    """The generator of a SAM.

    Args:
        sam: as for :func:`~ovseg.encoders.sams.load_any_sam`.
        settings: of the generator of that version.

    Raises:
        UserError: a setting that the generator has not; see also the loader.
    """
    loaded = load_any_sam(sam)
    if isinstance(loaded, LoadedSAM2):
        return SAM2Generator(loaded, read_settings(MaskGrid, settings, 'regions.generator'))
    return SAMGenerator(loaded, settings)


class SAMGenerator(MaskGenerator):
    """The first SAM's: segment-anything's own ``SamAutomaticMaskGenerator``.

    Args:
        sam: the model.
        settings: arguments of the generator.

    Raises:
        UserError: an argument that it has not.
    """

    sam: Sam

    def __init__(self, sam: LoadedSAM, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.sam, self.weights = sam.model, sam.weights
        try:
            self._generator = SamAutomaticMaskGenerator(self.sam, **settings)
        except TypeError as error:
            raise UserError(f'regions.generator: {error}') from error
        # Crops of a side of fewer pixels than the square of their number may be empty.
        self._smallest_cropped = 4 ** settings.get('crop_n_layers', 0)
        self._uncropped = SamAutomaticMaskGenerator(self.sam, **{**settings, 'crop_n_layers': 0})
        for maker in (self._generator, self._uncropped):
            maker.predictor.transform = FrameResize(self.sam.image_encoder.img_size)

    def masks(self, image: np.ndarray) -> list[np.ndarray]:
        """See :class:`MaskGenerator`."""
        can_crop = min(image.shape[:2]) >= self._smallest_cropped
        found = (self._generator if can_crop else self._uncropped).generate(image)
        return [mask['segmentation'] for mask in found]


@dataclass(frozen=True)
class MaskGrid:
    """Where SAM 2 is asked, and which of its masks are kept.

    Attributes:
        points_per_side: of the grid of points.
        points_per_batch: points that go through the mask decoder together; bounds the memory
            (about 50 MB each with a published SAM 2) and changes no result.
        pred_iou_thresh: masks whose IoU SAM estimates not above it are dropped; 0 keeps all.
        stability_score_thresh: likewise for the IoU of a mask cut above and below 0; 0 keeps all.
        stability_score_offset: how far above and below, in logits.
        box_nms_thresh: of two masks whose boxes overlap by more (IoU) the better one stays.
        multimask_output: three masks a point instead of one.

    Source: SAM 2 (arXiv 2408.00714), its automatic masks; the default values are transformers'.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    multimask_output: bool = True

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ('points_per_side', 'points_per_batch'):
            if getattr(self, name) < 1:
                raise UserError(
                    f'regions.generator.{name} must be at least 1, got {getattr(self, name)}'
                )

    def points(self, frame: int) -> Tensor:
        """The grid, (n, 2) float32 (x, y) in pixels of a square frame, row by row.

        Args:
            frame: its side in pixels.

        Example:
            >>> MaskGrid(points_per_side=2).points(8).tolist()
            [[2.0, 2.0], [6.0, 2.0], [2.0, 6.0], [6.0, 6.0]]
        """
        side = (torch.arange(self.points_per_side) + 0.5) * (frame / self.points_per_side)
        return torch.cartesian_prod(side, side).flip(1).float()


class SAM2Generator(MaskGenerator):
    """SAM 2's, of the parts that transformers' pipeline is made of.

    The grid lies over the whole frame. That of transformers' ``generate_crop_boxes`` scales both
    sides by one factor, as the first SAM's frame does, and asks only in the upper or left part of
    an image that is no square.

    Args:
        sam: the model.
        grid: where it is asked.
    """

    sam: SAM2

    def __init__(self, sam: LoadedSAM2, grid: MaskGrid) -> None:
        super().__init__()
        self.sam, self.weights, self.grid = SAM2(sam), sam.weights, grid

    @torch.no_grad()
    def masks(self, image: np.ndarray) -> list[np.ndarray]:
        """See :class:`MaskGenerator`."""
        seen, grid = self.sam.embed(image), self.grid
        points = grid.points(self.sam.frame).to(seen.features.device)
        masks: list[Any] = []
        scores, boxes = [], []
        for part in points.split(grid.points_per_batch):
            answers = self.sam.ask(seen, part[:, None], several=grid.multimask_output)
            for found in self._good(seen, answers.low_res.flatten(0, 1), answers.iou.flatten()):
                masks += found[0]
                scores.append(found[1])
                boxes.append(found[2])
        if not masks:
            return []
        kept, *_ = self.sam.processor.post_process_for_mask_generation(
            masks, torch.cat(scores), torch.cat(boxes), grid.box_nms_thresh
        )
        return [mask.numpy() for mask in kept]

    def _good(
        self, seen: SAMImage, low_res: Tensor, iou: Tensor
    ) -> Iterator[tuple[list[Any], Tensor, Tensor]]:
        """Run lengths, scores and boxes of the masks that are kept, some masks at a time.

        Args:
            seen: the image.
            low_res: (n, s, s) logits.
            iou: (n,).
        """
        grid, (height, width) = self.grid, seen.image_size
        if grid.pred_iou_thresh > 0:  # before they are brought to the image's size
            good = iou > grid.pred_iou_thresh
            low_res, iou = low_res[good], iou[good]
        for start, stop in _MASKS.strips(len(low_res), _BYTES_A_PIXEL * height * width):
            (logits,) = self.sam.processor.post_process_masks(
                [low_res[None, start:stop]], [seen.image_size], binarize=False
            )
            yield self.sam.processor.filter_masks(
                logits,
                iou[None, start:stop],
                seen.image_size,
                [0, 0, width, height],
                pred_iou_thresh=0.0,
                stability_score_thresh=grid.stability_score_thresh,
                mask_threshold=self.sam.mask_threshold,
                stability_score_offset=grid.stability_score_offset,
            )
