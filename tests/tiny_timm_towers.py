"""Tiny vision towers of timm's with seeded random weights, one of each family."""

from __future__ import annotations

import torch
from timm.layers import SwiGLU
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

PLAIN = {
    'img_size': 32,
    'patch_size': 8,
    'embed_dim': 32,
    'depth': 3,
    'num_heads': 4,
    'num_classes': 24,
}
ROTARY = {**PLAIN, 'use_rot_pos_emb': True, 'rope_grid_indexing': 'xy'}
TOWERS = {
    'siglip': (VisionTransformer, {**PLAIN, 'class_token': False, 'global_pool': 'map'}),
    'mobileclip': (VisionTransformer, {**PLAIN, 'no_embed_class': True}),
    'tipsv2': (
        VisionTransformer,
        {
            **PLAIN,
            'reg_tokens': 1,
            'init_values': 0.7,
            'no_embed_class': True,
            'mlp_layer': SwiGLU,
        },
    ),
    'pre-norm with norms inside': (
        VisionTransformer,
        {**PLAIN, 'pre_norm': True, 'qk_norm': True, 'scale_attn_norm': True, 'qkv_bias': False},
    ),
    'perception encoder': (Eva, {**ROTARY, 'attn_type': 'rope', 'global_pool': 'map'}),
    'eva-02': (
        Eva,
        {
            **ROTARY,
            'qkv_fused': False,
            'swiglu_mlp': True,
            'scale_mlp': True,
            'scale_attn_inner': True,
            'global_pool': 'token',
            'ref_feat_shape': (2, 2),
        },
    ),
    'eva, fused with biases': (
        Eva,
        {**PLAIN, 'init_values': 0.6, 'global_pool': 'avg', 'use_post_transformer_norm': True},
    ),
    'dinov3': (
        Eva,
        {
            **PLAIN,
            'use_rot_pos_emb': True,
            'use_abs_pos_emb': False,
            'rope_type': 'dinov3',
            'rope_rotate_half': True,
            'num_reg_tokens': 4,
            'init_values': 0.8,
            'global_pool': 'token',
        },
    ),
}


def timm_tower(name: str, **changes) -> VisionTransformer | Eva:
    """A tower of :data:`TOWERS`, the same weights at every call, none of them an identity."""
    torch.manual_seed(0)
    kind, settings = TOWERS[name]
    tower = kind(**{**settings, **changes}).eval().requires_grad_(False)
    draws = torch.Generator().manual_seed(1)
    for parameter in tower.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=draws)
    return tower
