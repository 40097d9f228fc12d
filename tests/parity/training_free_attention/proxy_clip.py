"""Parity with ProxyCLIP: every quantity of its golden file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ovseg.affinity import LastBlockSpec
from ovseg.affinity.proxy import mean_similarity
from ovseg.encoders import CLIPViTEncoder, load_clip
from ovseg.guides import Look, ProxyAttention, ProxyCLIPEncoder
from ovseg.segmentors import TrainingFreeSegmentor
from parity.golden import read
from parity.report import Case
from parity.training_free_attention.pipelines import (
    FEATURES,
    check_pipeline,
    dino_file,
    encoder_settings,
    segmentor_settings,
    tokens_of,
    weight_file,
)

_ENCODER = {'type': 'ProxyCLIPEncoder', 'position_resize': 'scale_factor'}
# Windows are filled up; whole images are taken as they are.
_WINDOWS = {'padding': 'centred', 'padding_multiple': 56}


def check_proxy_clip(file: Case, folder: Path) -> None:
    """ProxyCLIP: the companion's features, mixing by batch and by image, and pipelines."""
    weights = read(folder / 'weights.pt')
    with weight_file(weights) as clip, dino_file(weights) as dino:
        visual = load_clip(**clip).model.visual
        companion = {'type': 'DINOCompanion', **dino}
        for case in file.cases('features'):
            _check_features(case, visual, companion)
        for case in file.cases('pipelines'):
            padding = _WINDOWS if case['slide_crop'] else {'padding': 'floor'}
            mixing = {'companion': companion, 'beta': case['beta'], 'gamma': case['gamma']}
            model = TrainingFreeSegmentor(
                clip=clip, encoder={**_ENCODER, **padding, **mixing}, **segmentor_settings(case)
            )
            check_pipeline(case, model.eval())


@torch.no_grad()
def _check_features(case: Case, visual: Any, companion: dict[str, Any]) -> None:
    image = case['image']
    encoder = ProxyCLIPEncoder(visual, companion, **encoder_settings(image))
    dino = encoder.companion.encoder
    normalised = (image * encoder.std + encoder.mean - dino.mean) / dino.std
    features = encoder.look(image).features
    plain = CLIPViTEncoder(visual, LastBlockSpec('qk'), 'scale_factor', 'floor')(image).patch
    case.compare(
        FEATURES, image_imagenet_norm=normalised, dino_feats=features, no_proxy=tokens_of(plain)
    )
    for key in case:
        kind, *settings = key.split('/')
        if kind not in ('proxy', 'proxy_single'):
            continue
        beta, gamma = (float(setting.partition('=')[2]) for setting in settings)
        if kind == 'proxy_single':
            own = ProxyCLIPEncoder(visual, companion, beta, gamma, **encoder_settings(image))(
                image
            ).patch
        else:
            # The released code takes one mean over whatever is in the batch; methods of ours that
            # want it (Trident) say so, the encoder takes each window by itself.
            attention, mean = ProxyAttention(beta, gamma), mean_similarity(features).mean()
            tokens = attention(encoder.clip, image, Look(features, ordinary=mean))
            own = encoder.clip.to_text_space(tokens)
        case.compare(FEATURES, {key: tokens_of(own)})
