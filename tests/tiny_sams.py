"""Tiny SAMs with seeded random weights, and their plain computations."""

from __future__ import annotations

import torch

from ovseg.encoders.sam import LoadedSAM, load_sam

# Frames of 64 pixels, 8 x 8 patches, a global attention in the middle and at the end.
TINY_SAM = {
    'image_size': 64,
    'patch_size': 8,
    'encoder_embed_dim': 16,
    'encoder_depth': 3,
    'encoder_num_heads': 2,
    'mlp_ratio': 2.0,
    'global_attn_indexes': [1, 2],
    'window_size': 4,
    'prompt_embed_dim': 16,
    'mask_in_chans': 4,
    'decoder_num_heads': 2,
    'decoder_mlp_dim': 16,
    'iou_head_hidden_dim': 16,
}


def tiny_sam(seed: int = 0) -> LoadedSAM:
    """A SAM whose relative positions are random, too (they start as zeros)."""
    torch.manual_seed(seed)
    loaded = load_sam(TINY_SAM, 'random')
    for name, value in loaded.model.named_parameters():
        if 'rel_pos' in name or 'pos_embed' in name:
            torch.nn.init.normal_(value, std=0.5)
    return loaded
