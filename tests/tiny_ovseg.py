"""A tiny OVSeg with random weights: a narrow ResNet, a small MaskFormer, a tiny CLIP."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import DefaultScope
from tiny_clip_models import VIT
from torch import Tensor
from torch.nn import functional as F

from ovseg.regions.region_crops import crop_regions
from ovseg.registry import MODELS
from ovseg.segmentors import OVSeg
from ovseg.training.heads import Proposals

EMBEDDED = {'model': 'tiny_clip_scenes', 'pretrained': 'embedded'}
WORDS = 'cat; sofa; wall; sky'
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def config(**settings: Any) -> dict[str, Any]:
    """A config of the model.

    Args:
        settings: replace those of the model.
    """
    return {
        'type': 'OVSeg',
        'data_preprocessor': {
            'type': 'SegDataPreProcessor',
            'mean': MEAN,
            'std': STD,
            'bgr_to_rgb': True,
            'size_divisor': 32,
        },
        'clip': {'model': VIT, 'pretrained': 'random'},
        'backbone': {
            'type': 'ResNetV1c',
            'depth': 18,
            'stem_channels': 8,
            'base_channels': 8,
            'norm_eval': True,
        },
        'proposals': {
            'type': 'OpenVocabularyMaskFormer',
            'in_channels': [8, 16, 32, 64],
            'embed_dim': 24,
            'num_queries': 6,
            'feat_channels': 16,
            'mask_channels': 16,
            'hidden_channels': 16,
            'num_heads': 2,
            'feedforward_channels': 16,
            'num_layers': 2,
            'class_channels': 16,
            'norm_groups': 4,
        },
        'mask_prompts': 2,
        'regions': {'threshold': 0.4},
        'vocabulary': WORDS,
        'text': {'templates': 'single', 'cache_dir': None, 'logit_scale': 100},
        **settings,
    }


def embedded_config(**settings: Any) -> dict[str, Any]:
    """A config with the CLIP that ships with the package, whose weights the config loads.

    Args:
        settings: see :func:`config`.
    """
    head = {**config()['proposals'], 'embed_dim': 128}
    return config(**{'clip': EMBEDDED, 'proposals': head, **settings})


def maskformer_config() -> dict[str, Any]:
    """The model as its MaskFormer is trained: CLIP has text and is not asked about regions."""
    return embedded_config(ensemble={'enabled': False}, mask_prompts=0)


def build(seed: int = 0, **settings: Any) -> OVSeg:
    """The model, in evaluation mode.

    Args:
        seed: of the weights.
        settings: see :func:`config`.
    """
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config(**settings))
    return model.eval()


def give_masks(model: OVSeg, logits: Tensor, seed: int = 1) -> Tensor:
    """Lets a model propose these masks for every image; returns their embeddings.

    Args:
        model: changed in place.
        logits: (Q, h, w), over the padded image.
        seed: of the embeddings (Q, E).
    """
    generator = torch.Generator().manual_seed(seed)
    # Each leans towards one of the words.
    rows = model.classifier.weight
    towards = F.normalize(rows - rows.mean(0), dim=1)[torch.arange(len(logits)) % len(rows)]
    noise = torch.randn(len(logits), rows.shape[1], generator=generator)
    embeddings = towards + 0.5 * F.normalize(noise, dim=1)
    model.proposals.forward = lambda features, size: Proposals(
        logits.expand(len(features[0]), *logits.shape),
        embeddings.expand(len(features[0]), *embeddings.shape),
    )
    return embeddings


@torch.no_grad()
def plain_scores(
    model: OVSeg,
    image: Tensor,
    logits: Tensor,
    embeddings: Tensor,
    size: tuple[int, int],
    weight: float | None,
) -> Tensor:
    """Score maps (K, H, W) as the paper writes them, all masks and all classes at full size.

    Args:
        model: gives text rows, "no object" and CLIP.
        image: (3, h, w) RGB in [0, 255], as the network sees it.
        logits: (Q, ., .) of the masks, over the padded image.
        embeddings: (Q, E).
        size: (H, W) of the original image.
        weight: of CLIP in the ensemble, above 0; None without it.
    """
    height, width = image.shape[1:]
    padded = (-(-height // 32) * 32, -(-width // 32) * 32)
    grown = F.interpolate(logits[None], padded, mode='bilinear', align_corners=False)[0]
    masks = grown[:, :height, :width].sigmoid()
    rows = F.normalize(model.classifier.weight, dim=1)
    everything = torch.cat([rows, F.normalize(model.proposals.non_object_embedding, dim=1)])
    score = (100 * F.normalize(embeddings, dim=1) @ everything.T).softmax(1)[:, :-1]
    if weight is not None:
        crops = crop_regions(image, masks, model.region_settings)
        of_regions = torch.ones_like(score)
        valid = (masks > model.region_settings.threshold).flatten(1).any(1)
        if valid.any():
            found = F.normalize(model.clip.visual(crops.images, crops.masks), dim=1)
            of_regions[valid] = (100 * found @ rows.T).softmax(1)
        score = score ** (1 - weight) * of_regions**weight
    maps = torch.einsum('qk,qhw->khw', score, masks)
    return F.interpolate(maps[None], size, mode='bilinear', align_corners=False)[0]
