"""Tiny FC-CLIPs and MAFT+s with random weights whose masks differ from place to place."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import DefaultScope
from tiny_clip_models import RESNET, TEXT
from torch import Tensor

from ovseg.registry import MODELS
from ovseg.segmentors import FCCLIP

CONVNEXT = {
    'embed_dim': 24,
    'vision_cfg': {
        'timm_model_name': 'convnext_scenes',
        'timm_pool': '',
        'timm_proj': 'mlp',
        'image_size': 64,
    },
    'text_cfg': TEXT,
}
CLIPS = {'convnext': CONVNEXT, 'resnet': RESNET}
WORDS = [['cat', 'kitten'], ['sofa'], ['wall'], ['sky', 'clouds']]
SIZE = (64, 96)
HEAD = {
    'num_queries': 6,
    'channels': 16,
    'num_heads': 2,
    'num_layers': 2,
    'feedforward_channels': 16,
    'pixel_layers': 1,
    'pixel_points': 2,
    'pixel_feedforward': 16,
    'norm_groups': 4,
    'num_points': 48,
}


def config(clip: str = 'convnext', **settings: Any) -> dict[str, Any]:
    """The settings of a model, without its type.

    Args:
        clip: of ``CLIPS``.
        settings: replace others.
    """
    return {
        'clip': {'model': CLIPS[clip], 'pretrained': 'random'},
        'proposals': {'type': 'MaskedAttentionHead', **HEAD},
        'ensemble': {'weight': 0.4, 'unseen_weight': 0.8, 'seen': [['cat', 'dog'], ['wall']]},
        'text': {'templates': 'single', 'combine': 'max', 'cache_dir': None},
        'vocabulary': WORDS,
        'data_preprocessor': {
            'type': 'SegDataPreProcessor',
            'mean': [122.8, 116.7, 104.1],
            'std': [68.5, 66.6, 70.3],
            'bgr_to_rgb': True,
        },
        **settings,
    }


def build(kind: str = 'FCCLIP', clip: str = 'convnext', **settings: Any) -> FCCLIP:
    """A model in evaluation mode.

    Args:
        kind: ``'FCCLIP'`` or ``'MAFTPlus'``.
        clip: of ``CLIPS``.
        settings: see :func:`config`.
    """
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build({'type': kind, '_scope_': 'ovseg', **config(clip, **settings)}).eval()
    spread(model)
    return model


def images(count: int = 1) -> Tensor:
    """(count, 3, H, W), normalised."""
    torch.manual_seed(1)
    return torch.randn(count, 3, *SIZE)


@torch.no_grad()
def spread(model: FCCLIP) -> None:
    """Gives masks that cover some places, and classes that differ from query to query."""
    head = model.proposals
    head.query_feat.weight.mul_(20)
    for weight in (head.mask_embed[-1].weight, head.pixel_decoder.mask_feature.weight):
        weight.mul_(30)
    for weight in (head.cls_embed[-1].weight, head.cls_embed[0].weight):
        weight.mul_(5)
