"""SAM 2 asked about an image: what it keeps of the image, and its masks of prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovseg.encoders.prompted_sam import Decoded, Prompts, SAMImage
from ovseg.encoders.sam2 import LoadedSAM2
from ovseg.precision import dtype_of, exact_parts_kept, in_own_precision, keep_precision


@dataclass(frozen=True)
class Answers:
    """What SAM 2 answered to n prompts with m masks each.

    Attributes:
        low_res: (n, m, s, s) logits on the squashed frame, float32.
        iou: (n, m), how well each mask fits by SAM's own estimate.
    """

    low_res: Tensor
    iou: Tensor


class SAM2(nn.Module):
    """SAM 2; a :class:`~ovseg.encoders.prompted_sam.PromptedSAM`.

    Both sides of an image are squashed to the frame, so a frame has no padding, and coordinates
    have one factor a side.

    Args:
        sam: from :func:`~ovseg.encoders.sam2.load_sam2`. It is read, never written or hooked.
    """

    casts_products = True
    # Of every SAM; transformers has it as a default of its functions.
    mask_threshold = 0.0

    def __init__(self, sam: LoadedSAM2) -> None:
        super().__init__()
        from transformers import Sam2ImageProcessor

        self.sam = sam.model
        self.name, self.weights = sam.name, sam.weights
        side: Any = self.sam.prompt_encoder.input_image_size
        self.frame: int = side
        self.processor = Sam2ImageProcessor(size={'height': self.frame, 'width': self.frame})
        # As with SAM 1: coordinates and logits want float32.
        keep_precision(self.sam.prompt_encoder)
        keep_precision(self.sam.mask_decoder)
        keep_precision(self.sam.shared_image_embedding)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SAM2:
        with exact_parts_kept(self):
            return super()._apply(fn, recurse)

    @property
    def mask_side(self) -> int:
        """Side of mask inputs and of the masks' logits."""
        side: int = self.sam.prompt_encoder.mask_input_size[0]
        return side

    def inside(self, image_size: tuple[int, int], side: int) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`: any image fills the square."""
        return side, side

    @torch.no_grad()
    def embed(self, image: np.ndarray) -> SAMImage:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`."""
        shown = torch.from_numpy(image).permute(2, 0, 1)
        # On the CPU, so that all devices see the same pixels.
        seen = self.processor([shown], input_data_format='channels_first', return_tensors='pt')
        pixels = seen['pixel_values'].to(self.sam.device)
        size = (image.shape[0], image.shape[1])
        decoder, maps = self.sam.mask_decoder, self._maps(pixels)
        # What transformers' get_image_embeddings adds to the maps, in float32.
        with torch.autocast(pixels.device.type, enabled=False):
            finest, fine, embedding = (each.float() for each in maps)
            nothing_before = self.sam.no_memory_embedding.float().view(1, -1, 1, 1)
            finer = (decoder.conv_s0(finest), decoder.conv_s1(fine))
            return SAMImage(embedding + nothing_before, size, size, size, finer)

    @in_own_precision
    def _maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The image encoder's three maps, the finest first."""
        encoder = self.sam.vision_encoder
        maps: tuple[Tensor, ...] = encoder(pixels.to(dtype_of(encoder))).fpn_hidden_states
        return maps

    def decode(self, image: SAMImage, prompts: Prompts, prompt_batch: int) -> Decoded:
        """See :class:`~ovseg.encoders.prompted_sam.PromptedSAM`."""
        count, features = len(prompts.points), image.features
        low_res = features.new_empty(count, self.mask_side, self.mask_side, dtype=torch.float32)
        iou = features.new_empty(count, dtype=torch.float32)
        for start in range(0, count, prompt_batch):
            part = slice(start, min(start + prompt_batch, count))
            masks = None if prompts.masks is None else prompts.masks[prompts.mask_index[part]]
            answers = self.ask(image, prompts.points[part], prompts.boxes[part], masks)
            low_res[part], iou[part] = answers.low_res[:, 0], answers.iou[:, 0]
        return Decoded(low_res, iou)

    @torch.no_grad()
    def ask(
        self,
        image: SAMImage,
        points: Tensor,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        several: bool = False,
    ) -> Answers:
        """The masks of n prompts, all at once.

        Args:
            image: from :meth:`embed`.
            points: (n, k, 2) of what is wanted, (x, y) in pixels of the frame.
            boxes: (n, 4) there, (x1, y1, x2, y2), or None.
            masks: (n, 1, s, s) logits on the frame, or None.
            several: three masks a prompt instead of one.
        """
        # A mask input belongs to an image: each prompt with one gets an image of its own, a view.
        images = 1 if masks is None else len(points)
        grouped = (images, len(points) // images)
        maps = [each.float().expand(images, -1, -1, -1) for each in (*image.finer, image.features)]
        with torch.autocast(points.device.type, enabled=False):
            found = self.sam(
                image_embeddings=maps,
                input_points=points.unflatten(0, grouped),
                input_labels=points.new_ones(points.shape[:2]).long().unflatten(0, grouped),
                input_boxes=None if boxes is None else boxes.unflatten(0, grouped),
                input_masks=masks,
                multimask_output=several,
            )
        return Answers(found.pred_masks.flatten(0, 1), found.iou_scores.flatten(0, 1))
