"""Tiny SAM 2s with seeded random weights."""

from __future__ import annotations

import pytest
import torch

# Frames of 128 pixels: grids of 32, 16 and 8; a block of the third stage sees the whole frame.
TINY_SAM2 = {
    'vision_config': {
        'backbone_config': {
            'hidden_size': 8,
            'num_attention_heads': 1,
            'embed_dim_per_stage': [8, 16, 24, 32],
            'num_attention_heads_per_stage': [1, 2, 2, 4],
            'blocks_per_stage': [1, 1, 2, 1],
            'global_attention_blocks': [3],
            'window_size_per_stage': [4, 2, 4, 2],
            'window_positional_embedding_background_size': [3, 3],
            'image_size': [128, 128],
        },
        'backbone_channel_list': [32, 24, 16, 8],
        'backbone_feature_sizes': [[32, 32], [16, 16], [8, 8]],
        'fpn_hidden_size': 32,
    },
    'prompt_encoder_config': {
        'hidden_size': 32,
        'image_size': 128,
        'patch_size': 16,
        'mask_input_channels': 8,
    },
    'mask_decoder_config': {
        'hidden_size': 32,
        'mlp_dim': 32,
        'num_attention_heads': 2,
        'iou_head_hidden_dim': 16,
    },
}


def randomised(sam, seed=0):
    """A SAM 2 of transformers whose masks have borders and follow their prompts.

    With seed 7 some of a noise's single masks are unstable and some are not.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, value in sam.named_parameters():
        if 'norm' in name:
            continue
        spread = 0.1 if 'neck' in name else 1.5 if name.startswith('mask_decoder') else 1.0
        fan_in = 1 if 'token' in name else max(1, value[0].numel())
        if name.startswith('prompt_encoder') and name.endswith('embed.weight'):
            fan_in = 1
        spread = 0.3 if 'bias' in name else spread / fan_in**0.5
        value.data = spread * torch.randn(value.shape, generator=generator)
    return sam


def tiny_sam2(seed=0, **settings):
    """A loaded SAM 2; skips the test where transformers is missing."""
    pytest.importorskip('transformers', reason='SAM 2 needs the extra `transformers`')
    from ovseg.encoders.sam2 import load_sam2

    torch.manual_seed(seed)
    loaded = load_sam2(TINY_SAM2, 'random', **settings)
    randomised(loaded.model, seed)
    return loaded
