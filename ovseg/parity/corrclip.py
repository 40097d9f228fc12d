"""Parity with CorrCLIP: every quantity of the golden files of both versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.region_scope import linked_groups, region_distances, resize_regions
from ovseg.encoders import load_clip
from ovseg.guides import CorrCLIPEncoder
from ovseg.parity.attention_cases import (
    FEATURES,
    PIPELINE_INPUTS,
    PREPROCESSOR,
    check_pipeline,
    classifier_of,
    dino_file,
    read_weights,
    weight_file,
)
from ovseg.parity.report import EXACT, Report
from ovseg.regions.retrieval import RetrievalBank
from ovseg.segmentors import CorrCLIP
from ovseg.segmentors.corrclip import TwoModelClassifier
from ovseg.text import Classifier

_WEIGHTS = 'corrclip_v1_weights.pt'
_REACH = 0.2
_ENCODER = {'type': 'CorrCLIPEncoder', 'position_resize': 'scale_factor'}
_BANK = ('bank_vfm', 'bank_clip', 'bank_aux', 'num_support')
_V2_INPUTS = (
    *(*PIPELINE_INPUTS, *_BANK, 'instance_mask', 'vfm_dense', 'aux_query_features'),
    *('use_support', 'use_aux', 'alpha'),
)


def check_weights(report: Report, folder: Path) -> None:
    """The vision tower's weights, through the loader of published files."""
    report.use('config')
    with weight_file(report.content) as (config, path):
        own = load_clip(config, path).model.state_dict()
    for name, value in report.content['state_dict'].items():
        report.compare(f'state_dict.{name}', own[name], value, EXACT)


def check_version_1(report: Report, folder: Path) -> None:
    """CorrCLIP: similarities, merged regions, features, and pipelines to corrected maps."""
    with _models(folder) as (clip, dino):
        companion = {'type': 'DINOCompanion', 'quantity': 'queries+keys', **dino}
        visual = load_clip(*clip.values()).model.visual
        for index, case in enumerate(report.content['features']):
            _check_features(report, f'features.{index}', case, visual, companion)
        for index, case in enumerate(report.content['pipelines']):
            name = f'pipelines.{index}'
            report.use(*(f'{name}.{key}' for key in (*PIPELINE_INPUTS, 'instance_mask')))
            model = _model(case, clip, {'companion': companion, 'merge_distance': _REACH})
            check_pipeline(report, name, case, model)


def check_version_2(report: Report, folder: Path) -> None:
    """CorrCLIPv2: features of the whole image; support from a bank, from two CLIPs, or none."""
    report.use('weights')
    with _models(folder, report.content['weights']) as (clip, _):
        for index, case in enumerate(report.content['pipelines']):
            name = f'pipelines.{index}'
            report.use(*(f'{name}.{key}' for key in _V2_INPUTS))
            companion = _Given(case['vfm_dense'])
            encoder = {
                'companion': companion,
                'companion_sees': 'image',
                'merge_distance': None,
            }
            model = _model(case, clip, encoder)
            classifier = classifier_of(case)
            if case['use_support']:
                model.bank, model.support_share = _bank(case), float(case['alpha'])
            if case['use_aux']:
                classifier = _with_auxiliary(classifier, case['aux_query_features'])
            check_pipeline(report, name, case, model, classifier)


def _bank(case: dict[str, Any]) -> RetrievalBank:
    auxiliary = case['bank_aux'] if case['use_aux'] else None
    return RetrievalBank(case['bank_vfm'], case['bank_clip'], auxiliary, case['num_support'])


def _with_auxiliary(classifier: Classifier, rows: Tensor) -> TwoModelClassifier:
    own = {field.name: getattr(classifier, field.name) for field in fields(Classifier)}
    return TwoModelClassifier(**own, auxiliary=rows)


@torch.no_grad()
def _check_features(
    report: Report, name: str, case: dict[str, Any], visual: nn.Module, companion: dict[str, Any]
) -> None:
    report.use(f'{name}.image', f'{name}.instance_masks')
    image, regions = case['image'], case['instance_masks'][:, 0].long()
    encoder = CorrCLIPEncoder(
        visual,
        companion,
        position_resize='scale_factor',
        padding='floor',
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    )
    units = F.normalize(encoder.companion_features(image), dim=1)
    theirs = case['dino_qk_normalized']
    report.compare(f'{name}.dino_qk_normalized', _tokens(units), theirs, FEATURES)
    report.compare(f'{name}.feat_shape', list(units.shape[2:]), list(case['feat_shape']), EXACT)
    distances = region_distances(units[0], resize_regions(regions, tuple(units.shape[2:]))[0])
    report.compare(f'{name}.dbscan_distance', distances, case['dbscan_distance'], FEATURES)
    groups = linked_groups(distances, _REACH)
    report.compare(f'{name}.dbscan_labels', groups, case['dbscan_labels'], EXACT)
    features = encoder(image, regions=regions).patch
    report.compare(f'{name}.features', _tokens(features), case['features'], FEATURES)


def _model(case: dict[str, Any], clip: dict[str, Any], encoder: dict[str, Any]) -> CorrCLIP:
    return CorrCLIP(
        regions=_GivenRegions(case['instance_mask']),
        encoder={**_ENCODER, 'padding': 'centred', 'padding_multiple': 56, **encoder},
        clip=clip,
        text={'cache_dir': None},
        test_cfg={
            'mode': 'slide',
            'crop_size': case['slide_crop'],
            'stride': case['slide_stride'],
        },
        data_preprocessor=PREPROCESSOR,
    ).eval()


class _Given(nn.Module):
    """A companion that says what the golden file holds."""

    stride = None

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, image: Tensor) -> Tensor:
        return self.features


class _GivenRegions:
    """The region map of a golden file."""

    needs_names = False

    def __init__(self, regions: Tensor) -> None:
        self._regions = regions

    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        return self._regions.numpy().astype(np.int64)


@contextmanager
def _models(
    folder: Path, weights: str = _WEIGHTS
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Arguments of ``load_clip`` and ``load_dino``."""
    with (
        weight_file(read_weights(folder, weights)) as (config, path),
        dino_file(read_weights(folder)) as dino,
    ):
        yield {'model': config, 'pretrained': path}, dino


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
