"""A SAM of any size, made of segment-anything's own classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from ovseg.errors import UserError, nearest

FIELDS = (
    'image_size',
    'patch_size',
    'encoder_embed_dim',
    'encoder_depth',
    'encoder_num_heads',
    'mlp_ratio',
    'global_attn_indexes',
    'window_size',
    'prompt_embed_dim',
    'mask_in_chans',
    'decoder_num_heads',
    'decoder_mlp_dim',
    'iou_head_hidden_dim',
)


def build_sam_architecture(fields: Mapping[str, Any]) -> Sam:
    """Returns a SAM with random weights, in training mode.

    What all published SAMs share is fixed: relative positions in every block of the image
    encoder, a two-way transformer of two layers, three masks for an ambiguous prompt, a head of
    three layers that predicts their IoU, and the pixel mean and standard deviation of ImageNet.

    Args:
        fields: a value for each name in :data:`FIELDS`. ``image_size`` is the side of the square
            frame that pictures are padded to, in pixels; ``global_attn_indexes`` the blocks
            (from 0) that see the whole picture, the others see windows of ``window_size``
            patches; ``mask_in_chans`` the channels that a mask prompt is brought to.

    Raises:
        UserError: a field is missing or unknown, or the frame is not made of whole patches.

    Source: Segment Anything (arXiv 2304.02643) appendix A.
    """
    missing = [name for name in FIELDS if name not in fields]
    unknown = [name for name in fields if name not in FIELDS]
    if missing or unknown:
        problems = [f'it lacks {", ".join(missing)}'] if missing else []
        if unknown:
            problems.append(f"it has '{unknown[0]}', which is none.{nearest(unknown[0], FIELDS)}")
        raise UserError(f'SAM architecture: {"; ".join(problems)}')
    size, patch = fields['image_size'], fields['patch_size']
    if size % patch:
        raise UserError(
            f'SAM architecture: image_size {size} must be a multiple of patch_size {patch}'
        )
    grid, width = size // patch, fields['prompt_embed_dim']
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=size,
            patch_size=patch,
            embed_dim=fields['encoder_embed_dim'],
            depth=fields['encoder_depth'],
            num_heads=fields['encoder_num_heads'],
            mlp_ratio=fields['mlp_ratio'],
            out_chans=width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=fields['window_size'],
            global_attn_indexes=tuple(fields['global_attn_indexes']),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=width,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=fields['mask_in_chans'],
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=width,
                num_heads=fields['decoder_num_heads'],
                mlp_dim=fields['decoder_mlp_dim'],
            ),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=fields['iou_head_hidden_dim'],
        ),
    )
