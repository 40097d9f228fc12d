"""SAM's masks of prompts: its prompt encoder and mask decoder, some prompts at a time."""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from ovseg.encoders.prompted_sam import Decoded, Prompts


def decode(sam: Sam, features: Tensor, prompts: Prompts, prompt_batch: int) -> Decoded:
    """Returns SAM's masks of all prompts, whatever their classes, some prompts at a time.

    Args:
        sam: the model.
        features: (1, C, h, w), its embedding of the image that the prompts are about.
        prompts: n of them; without any, nothing runs.
        prompt_batch: prompts at once.
    """
    encoder, count = sam.prompt_encoder, len(prompts.points)
    low_res = features.new_empty(count, *encoder.mask_input_size, dtype=torch.float32)
    iou = features.new_empty(count, dtype=torch.float32)
    # Coordinates and logits want float32: upstream, too, runs these two small parts in it.
    with torch.autocast(features.device.type, enabled=False):
        features, positions = features.float(), encoder.get_dense_pe()
        for start in range(0, count, prompt_batch):
            part = slice(start, min(start + prompt_batch, count))
            points, boxes = prompts.points[part], prompts.boxes[part]
            foreground = torch.ones(points.shape[:2], device=points.device)
            sparse, dense = encoder(points=(points, foreground), boxes=boxes, masks=None)
            # Regions of a class share its mask input: it is embedded once and repeated.
            if prompts.masks is not None:
                index = prompts.mask_index[part]
                first = int(index[0])
                held = prompts.masks[first : int(index[-1]) + 1]
                dense = _embedded_masks(sam, held)[index - first]
            logits, estimates = sam.mask_decoder(
                image_embeddings=features,
                image_pe=positions,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            low_res[part], iou[part] = logits[:, 0], estimates[:, 0]
    return Decoded(low_res, iou)


def _embedded_masks(sam: Sam, masks: Tensor) -> Tensor:
    """(m, 1, s, s) mask inputs -> (m, D, g, g).

    Each goes in without a batch dimension, as in Trident's released code. This decides its numbers:
    segment-anything's norms then run over the rows of a map instead of its channels.
    """
    embedded = [sam.prompt_encoder(points=None, boxes=None, masks=mask)[1] for mask in masks]
    return torch.stack(embedded)
