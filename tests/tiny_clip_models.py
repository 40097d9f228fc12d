"""Tiny open_clip models with seeded random weights, for tests of anything that takes a CLIP."""

from __future__ import annotations

import torch

from ovseg.encoders import LoadedCLIP, load_clip

TEXT = {'context_length': 16, 'vocab_size': 49408, 'width': 16, 'heads': 2, 'layers': 1}
VIT = {
    'embed_dim': 24,
    'vision_cfg': {'image_size': 32, 'patch_size': 8, 'width': 32, 'layers': 3, 'head_width': 8},
    'text_cfg': TEXT,
    'quick_gelu': True,
}
VIT_AVERAGE = {**VIT, 'vision_cfg': {**VIT['vision_cfg'], 'pool_type': 'avg'}}
RESNET = {
    'embed_dim': 24,
    'vision_cfg': {'image_size': 64, 'width': 4, 'layers': [1, 1, 1, 1], 'head_width': 32},
    'text_cfg': TEXT,
    'quick_gelu': True,
}
MODELS = {'vit': VIT, 'vit_average': VIT_AVERAGE, 'resnet': RESNET}


def tiny_clip(name: str = 'vit', **settings) -> LoadedCLIP:
    """A model of :data:`MODELS`, the same weights at every call."""
    torch.manual_seed(0)
    return load_clip(MODELS[name], 'random', **settings)
