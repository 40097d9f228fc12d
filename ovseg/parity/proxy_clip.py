"""Parity with ProxyCLIP: every quantity of its golden file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.affinity import LastBlockSpec
from ovseg.encoders import CLIPViTEncoder, load_clip
from ovseg.guides import ProxyCLIPEncoder
from ovseg.guides.proxy import ProxyAttention, mean_similarity
from ovseg.parity.attention_cases import (
    FEATURES,
    PIPELINE_INPUTS,
    PREPROCESSOR,
    check_pipeline,
    dino_file,
    read_weights,
    weight_file,
)
from ovseg.parity.report import Report
from ovseg.segmentors import TrainingFreeSegmentor

_INPUTS = (*PIPELINE_INPUTS, 'beta', 'gamma')
# Of the golden feature cases, whose images are multiples of all patches.
_AS_RELEASED = {
    'mean': (0.48145466, 0.4578275, 0.40821073),
    'std': (0.26862954, 0.26130258, 0.27577711),
    'position_resize': 'scale_factor',
    'padding': 'floor',
}


def check_proxy_clip(report: Report, folder: Path) -> None:
    """ProxyCLIP: the companion's features, mixing by batch and by image, and pipelines."""
    weights = read_weights(folder)
    with weight_file(weights) as (config, path), dino_file(weights) as dino:
        visual = load_clip(config, path).model.visual
        companion = {'type': 'DINOCompanion', **dino}
        for name, case in report.content['features'].items():
            _check_features(report, f'features.{name}', case, visual, companion)
        for index, case in enumerate(report.content['pipelines']):
            name = f'pipelines.{index}'
            report.use(*(f'{name}.{key}' for key in _INPUTS))
            model = TrainingFreeSegmentor(
                clip={'model': config, 'pretrained': path},
                encoder={
                    'type': 'ProxyCLIPEncoder',
                    'companion': companion,
                    'beta': case['beta'],
                    'gamma': case['gamma'],
                    'position_resize': 'scale_factor',
                    'padding': 'centred',
                    'padding_multiple': 56,
                },
                text={'cache_dir': None},
                test_cfg={
                    'mode': 'slide',
                    'crop_size': case['slide_crop'],
                    'stride': case['slide_stride'],
                },
                data_preprocessor=PREPROCESSOR,
            ).eval()
            check_pipeline(report, name, case, model)


@torch.no_grad()
def _check_features(
    report: Report, name: str, case: dict[str, Tensor], visual: Any, companion: dict[str, Any]
) -> None:
    image = case['image']
    report.use(f'{name}.image')
    encoder = ProxyCLIPEncoder(visual, companion, **_AS_RELEASED)
    dino = encoder.companion.encoder
    normalised = (image * encoder.std + encoder.mean - dino.mean) / dino.std
    theirs = case['image_imagenet_norm']
    report.compare(f'{name}.image_imagenet_norm', normalised, theirs, FEATURES)
    features = encoder.companion_features(image)
    report.compare(f'{name}.dino_feats', features, case['dino_feats'], FEATURES)
    for key in case:
        kind, *settings = key.split('/')
        if kind not in ('proxy', 'proxy_single'):
            continue
        beta, gamma = (float(setting.partition('=')[2]) for setting in settings)
        if kind == 'proxy_single':
            own = ProxyCLIPEncoder(visual, companion, beta, gamma, **_AS_RELEASED)(image).patch
        else:
            # The released code takes one mean over whatever is in the batch; methods of ours that
            # want it (Trident) say so, the encoder takes each window by itself.
            attention, mean = ProxyAttention(beta, gamma), mean_similarity(features).mean()
            tokens = attention(encoder.clip, image, features, mean)
            own = encoder.clip.to_text_space(tokens)
        report.compare(f'{name}.{key}', _tokens(own), case[key], FEATURES)
    plain = CLIPViTEncoder(visual, LastBlockSpec('qk'), 'scale_factor', 'floor')(image).patch
    report.compare(f'{name}.no_proxy', _tokens(plain), case['no_proxy'], FEATURES)


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
