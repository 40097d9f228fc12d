"""A tiny random model of every registered segmentor, and pictures to show it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import tiny_fcclip
import tiny_ovseg
import torch
from mmengine.registry import DefaultScope
from tiny_clip_models import RESNET, VIT
from tiny_companions import DINO, Checkerboard
from tiny_sam3s import TINY_SAM3, spread
from tiny_sams import TINY_SAM
from torch.nn import functional as F

from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors import (
    FCCLIP,
    OVSeg,
    SAM3Segmentor,
    TrainedSegmentor,
    TrainingFreeSegmentor,
)
from ovseg.segmentors.base import Segmentor

WORDS = 'cat; sofa; wall; sky'
CLIP = {'model': VIT, 'pretrained': 'random'}
TEXT = {'templates': 'single', 'cache_dir': None}
SEGMENTOR = {'clip': CLIP, 'text': TEXT, 'vocabulary': WORDS}
PREPROCESSOR = {'type': 'SegDataPreProcessor', 'mean': [123.7, 116.3, 103.5], 'bgr_to_rgb': True}
PREPROCESSOR['std'] = [58.4, 57.1, 57.4]
SMALL_DINO = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
WINDOWS = {'crop_size': 32, 'stride': 16, 'window_batch': 3}
NORM = {'type': 'BN'}
LOSS = {'type': 'CrossEntropyLoss', 'loss_weight': 1.0}
FPN_HEAD = {
    'type': 'FPNHead',
    'in_channels': [8, 8, 8, 8],
    'in_index': [0, 1, 2, 3],
    'feature_strides': [4, 8, 16, 32],
    'channels': 8,
    'norm_cfg': NORM,
    'align_corners': False,
    'loss_decode': LOSS,
}
CLIP_RESNET = {'layers': (1, 1, 1, 1), 'width': 8, 'output_dim': 12, 'input_resolution': 64}
TRANSFORMER = {'transformer_width': 16, 'transformer_heads': 4, 'transformer_layers': 1}


def _fpn(level: int) -> dict[str, Any]:
    """A neck; `level` has the score map's channels, too, -1 for none."""
    widths = [32, 64, 128, 256]
    widths[level] += 4 if level >= 0 else 0
    return {'type': 'FPN', 'in_channels': widths, 'out_channels': 8, 'num_outs': 4}


# Every registered segmentor: its variants, whose names say what is different.
SEGMENTORS: dict[str, dict[str, dict[str, Any]]] = {
    'TrainingFreeSegmentor': {
        'plain': {**SEGMENTOR, 'encoder': {'last_block': 'maskclip'}},
        'resnet': {**SEGMENTOR, 'clip': {'model': RESNET, 'pretrained': 'random'}},
        'refined windows': {
            **SEGMENTOR,
            'refiners': [{'type': 'PromptDenoising', 'threshold': 0.1}, {'type': 'KeySmoothing'}],
            'pixel_refiner': {'type': 'PAMR', 'steps': 2, 'dilations': (1, 2)},
            'test_cfg': {'mode': 'slide', **WINDOWS},
        },
        'proxy': {
            **SEGMENTOR,
            'encoder': {
                'type': 'ProxyCLIPEncoder',
                'companion': DINO,
                'position_resize': 'scale_factor',
                'padding': 'centred',
                'padding_multiple': 16,
            },
            'test_cfg': {'mode': 'slide', **WINDOWS},
        },
    },
    'RADSeg': {
        'denoised': {
            **SEGMENTOR,
            'encoder': {'last_block': 'radseg'},
            'aggregation': {'megabytes': 0.01},
            'refiners': [{'type': 'ScoreSoftmax'}],
            'denoise_below': 0.3,
            'test_cfg': {'mode': 'splice', 'upsampling': 'direct', **WINDOWS},
        },
    },
    'CLIPDINOiser': {
        'guided': {
            **SEGMENTOR,
            'encoder': {'last_block': 'maskclip', 'padding': 'black', 'mlp_input_layer': -2},
            'guide': {'type': 'DINOiserGuide', 'in_channels': 32, 'channels': 8},
            'teacher': None,
            'refiners': [{'type': 'ScoreSoftmax'}, {'type': 'LearnedBackground'}],
            'vocabulary': {
                'classes': ['background', 'cat', 'sofa', 'sky'],
                'rejection': {'kind': 'class_zero'},
            },
        },
    },
    'AnoVL': {
        'adapted': {
            'clip': CLIP,
            'text': {'cache_dir': None},
            'encoder': {'last_block': 'vv-all'},
            'states': {'normal': ['a {}', '{}'], 'abnormal': ['a damaged {}']},
            'adapter': {'steps': 1},
        },
    },
    'LightlyTrained': {
        'contexts': {**SEGMENTOR, 'learner': {'kind': 'contexts', 'position': 'middle'}},
        'adapter in windows': {
            **SEGMENTOR,
            'learner': {'kind': 'features', 'share': 0.5},
            'test_cfg': {'mode': 'slide', **WINDOWS},
        },
    },
    'CorrCLIP': {
        'regions': {
            **SEGMENTOR,
            'text': {**TEXT, 'combine': 'max'},
            'regions': Checkerboard(),
            'encoder': {
                'type': 'CorrCLIPEncoder',
                'companion': DINO,
                'spatial_blocks': 1,
                'position_resize': 'scale_factor',
                'padding': 'centred',
                'padding_multiple': 16,
            },
            'test_cfg': {'mode': 'slide', **WINDOWS},
        },
    },
    'Trident': {
        name: {
            **SEGMENTOR,
            'companion': {'type': 'DINOCompanion', 'model': SMALL_DINO, 'pretrained': 'random'},
            'sam': {'model': TINY_SAM, 'pretrained': 'random'},
            'refinement': refinement,
            'test_cfg': {'mode': 'splice', 'upsampling': 'direct', **WINDOWS},
        }
        for name, refinement in {
            'spliced': None,
            'prompted': {'coarse_threshold': 0.0, 'min_area': 4, 'iou_threshold': -1.0},
        }.items()
    },
    'OVSeg': {
        'ensemble': {key: value for key, value in tiny_ovseg.config().items() if key != 'type'}
    },
    'FCCLIP': {kind: tiny_fcclip.config(kind) for kind in ('convnext', 'resnet')},
    'MAFTPlus': {'moved': tiny_fcclip.config(transfer={'num_heads': 2})},
    'SAM3Segmentor': {
        'activesam': {
            'sam3': {'model': TINY_SAM3, 'pretrained': 'random'},
            'rule': 'activesam',
            'context': {'neighbours': 1, 'hypernyms': 0},
            'preview': {'size': 28, 'alpha': 0.5, 'at_most': 3},
            'text': {'cache_dir': None},
            'vocabulary': WORDS,
        },
        'windows': {
            'sam3': {'model': TINY_SAM3, 'pretrained': 'random'},
            'rule': 'conceptbank',
            'fusion': {'confidence': 0.1, 'top_k': 3},
            'text': {'cache_dir': None},
            'vocabulary': WORDS,
            'test_cfg': {'mode': 'slide', 'crop_size': 48, 'stride': 40},
        },
    },
    'MaskSegmentor': {
        'regions': {
            **SEGMENTOR,
            'proposals': {'type': 'RegionProposals', 'regions': Checkerboard()},
            'mask_classifier': None,  # see build
            'ensemble': {'weight': 0.0},
            'data_preprocessor': PREPROCESSOR,
        },
    },
    'MaskCLIPPlusSegmentor': {
        'student': {
            'backbone': {
                'type': 'ResNetV1c',
                'depth': 18,
                'stem_channels': 4,
                'base_channels': 4,
                'norm_cfg': NORM,
            },
            'decode_head': {
                'type': 'MaskCLIPPlusHead',
                'channels': 24,
                'decode_module': {
                    'type': 'DeepLabV2Module',
                    'in_channels': 32,
                    'dilations': (1, 2),
                    'norm_cfg': NORM,
                },
            },
            'vocabulary': WORDS,
            'teacher': {
                'type': 'TrainingFreeSegmentor',
                'clip': CLIP,
                'text': TEXT,
                'data_preprocessor': PREPROCESSOR,
            },
            'data_preprocessor': PREPROCESSOR,
        },
    },
    'TrainedSegmentor': {
        'resnet': {
            'backbone': {'type': 'CLIPResNet', 'layers': (1, 1, 1, 1), 'width': 8},
            'neck': _fpn(-1),
            'decode_head': FPN_HEAD,
            'vocabulary': WORDS,
            'data_preprocessor': PREPROCESSOR,
            'test_cfg': {'mode': 'slide', 'crop_size': 64, 'stride': 32},
        },
    },
    'DenseCLIP': {
        'resnet': {
            'backbone': {'type': 'CLIPResNetWithAttention', **CLIP_RESNET},
            'text_encoder': {
                'type': 'CLIPTextContextEncoder',
                'context_length': 8,
                'embed_dim': 12,
                **TRANSFORMER,
            },
            'context_decoder': {'type': 'ContextDecoder', 'visual_dim': 12, **TRANSFORMER},
            'neck': _fpn(3),
            'decode_head': FPN_HEAD,
            'identity_head': {'type': 'IdentityHead'},
            'vocabulary': WORDS,
            'token_embed_dim': 16,
            'text_dim': 12,
            'data_preprocessor': PREPROCESSOR,
        },
    },
}
CASES = {f'{kind}, {name}': (kind, name) for kind, rows in SEGMENTORS.items() for name in rows}
# Those whose words were fixed when they were trained.
CLOSED = {'AnoVL', 'TrainedSegmentor', 'DenseCLIP'}
# Other words that all of a kind take, where they are not of WORDS.
OTHER_WORDS = {'AnoVL': 'abnormal; normal'}


def config_of(case: str) -> dict[str, Any]:
    """The config of a case, the caller's own."""
    kind, name = CASES[case]
    config = {'type': kind, '_scope_': 'ovseg', **copy.deepcopy(SEGMENTORS[kind][name])}
    if config.get('mask_classifier', 0) is None:
        config['mask_classifier'] = tiny_ovseg.build().mask_classifier
    return config


def build(case: str) -> Segmentor:
    """The model of a case, in evaluation mode; what it says differs from place to place."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(config_of(case)).eval()
    with torch.no_grad():
        _spread(model)
    return model


def _spread(model: Segmentor) -> None:
    """Gives random weights, whose scores are nearly alike everywhere, scores that differ."""
    if isinstance(model, SAM3Segmentor):
        spread(model.sam3.model)
        model.words.forget()
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    if isinstance(model, FCCLIP):
        tiny_fcclip.spread(model)
    if not norms and not isinstance(model, TrainedSegmentor | OVSeg):
        return
    batch = pictures((128, 160), 8).inputs
    for norm in norms:
        norm.train().momentum = None  # the statistics of the batch, as after a training
    if norms and isinstance(model, TrainingFreeSegmentor):
        model.encoder(batch)
    elif norms:
        model.extract_feat(batch) if isinstance(model, OVSeg | FCCLIP) else model(
            batch, mode='tensor'
        )
    for norm in norms:
        norm.eval()
    if isinstance(model, TrainedSegmentor):
        torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=3.0)
        model.decode_head.conv_seg.bias -= model(batch, mode='tensor').mean((0, 2, 3))
    if isinstance(model, OVSeg):
        queries = model.proposals
        queries.query_embed.weight.mul_(20)
        queries.mask_embed[-1].weight.mul_(30)
        queries.pixel_decoder.mask_feature.weight.mul_(30)


def pictures(size: tuple[int, int], count: int = 1, seed: int = 0) -> Images:
    """Pictures of blotches, their inputs normalised, and the same at another size of their own.

    Args:
        size: (height, width) of the inputs.
        count: how many.
        seed: of the blotches.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 7, generator=generator) * 255
    own = (2 * size[0] + 1, size[1] + 3)
    sized = [F.interpolate(coarse, each, mode='bilinear').round() for each in (size, own)]
    originals = [
        np.ascontiguousarray(image) for image in sized[1].byte().permute(0, 2, 3, 1).numpy()
    ]
    mean, std = (torch.tensor(PREPROCESSOR[name]).view(3, 1, 1) for name in ('mean', 'std'))
    return Images((sized[0] - mean) / std, originals, [f'{i}.jpg' for i in range(count)])
