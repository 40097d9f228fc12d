"""Tiny vision towers of timm's with seeded random weights, one of each family."""

from __future__ import annotations

import torch
from open_clip.timm_model import TimmModel
from timm.layers import SwiGLU
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.fastvit import FastVit, RepConditionalPosEnc
from timm.models.vision_transformer import VisionTransformer
from torch import nn

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

# Towers without a transformer block at their end, as open_clip's TimmModel has them.
CONVOLUTIONAL = {
    'mobileclip-s': (
        FastVit,
        {
            'layers': (1, 1, 1, 1),
            'token_mixers': ('repmixer', 'repmixer', 'repmixer', 'attention'),
            'embed_dims': (32, 32, 32, 64),
            'mlp_ratios': (1,) * 4,
            'pos_embs': (None, None, None, RepConditionalPosEnc),
            'cls_ratio': 1.0,
            'num_classes': 24,
            'layer_scale_init_value': 0.5,
        },
    ),
    'convnext': (
        ConvNeXt,
        {
            'depths': (1, 1, 1, 1),
            'dims': (8, 8, 16, 16),
            'num_classes': 0,
            'ls_init_value': 0.5,
        },
    ),
}


def convolutional_tower(name: str, **changes) -> TimmModel:
    """A tower of :data:`CONVOLUTIONAL` in open_clip's wrapping, the same weights at every call."""
    torch.manual_seed(0)
    kind, settings = CONVOLUTIONAL[name]
    trunk = kind(**{**settings, **changes})
    visual = TimmModel('test_convnext', 24, pool='avg', proj='none')
    visual.trunk = trunk
    if name == 'convnext':
        visual.head = nn.Sequential(nn.Linear(trunk.num_features, 24, bias=False))
    draws = torch.Generator().manual_seed(1)
    for value in visual.state_dict().values():  # statistics of batch norms among them
        if value.is_floating_point():
            value += 0.1 * torch.rand(value.shape, generator=draws)
    return visual.eval().requires_grad_(False)


def timm_tower(name: str, **changes) -> VisionTransformer | Eva:
    """A tower of :data:`TOWERS`, the same weights at every call, none of them an identity."""
    torch.manual_seed(0)
    kind, settings = TOWERS[name]
    tower = kind(**{**settings, **changes}).eval().requires_grad_(False)
    draws = torch.Generator().manual_seed(1)
    for parameter in tower.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=draws)
    return tower
