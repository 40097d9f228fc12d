"""Parity with CorrCLIP: every quantity of the golden files of both versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.region_scope import linked_groups, region_distances, resize_regions
from ovseg.encoders import load_clip
from ovseg.guides import CorrCLIPEncoder
from ovseg.regions.retrieval import RetrievalBank
from ovseg.segmentors import CorrCLIP
from ovseg.segmentors.corrclip import TwoModelClassifier
from ovseg.text import Classifier
from parity.golden import read
from parity.report import EXACT, Case
from parity.training_free_attention.pipelines import (
    FEATURES,
    check_pipeline,
    classifier_of,
    dino_file,
    encoder_settings,
    segmentor_settings,
    tokens_of,
    weight_file,
)

_WEIGHTS = 'corrclip_v1_weights.pt'
_REACH = 0.2
_ENCODER = {
    'type': 'CorrCLIPEncoder',
    'position_resize': 'scale_factor',
    'padding': 'centred',
    'padding_multiple': 56,
}


def check_weights(file: Case, folder: Path) -> None:
    """The vision tower's weights, through the loader of published files."""
    file.use('config')
    with weight_file(file.content) as clip:
        file.compare_weights('state_dict', load_clip(**clip).model.state_dict())


def check_version_1(file: Case, folder: Path) -> None:
    """CorrCLIP: similarities, merged regions, features, and pipelines to corrected maps."""
    with _models(folder) as (clip, dino):
        companion = {'type': 'DINOCompanion', 'quantity': 'queries+keys', **dino}
        visual = load_clip(**clip).model.visual
        for case in file.cases('features'):
            _check_features(case, visual, companion)
        for case in file.cases('pipelines'):
            model = _model(case, clip, {'companion': companion, 'merge_distance': _REACH})
            check_pipeline(case, model)


def check_version_2(file: Case, folder: Path) -> None:
    """CorrCLIPv2: features of the whole image; support from a bank, from two CLIPs, or none."""
    with _models(folder, file['weights']) as (clip, _):
        for case in file.cases('pipelines'):
            case.use('bank_vfm', 'bank_clip', 'bank_aux', 'num_support', 'alpha')
            case.use('aux_query_features')
            encoder = {
                'companion': _Given(case['vfm_dense']),
                'companion_sees': 'image',
                'merge_distance': None,
            }
            model, classifier = _model(case, clip, encoder), classifier_of(case)
            if case['use_support']:
                # Upstream's alpha is what the image's own scores count.
                model.bank, model.support_share = _bank(case), 1.0 - float(case['alpha'])
            if case['use_aux']:
                classifier = _with_auxiliary(classifier, case['aux_query_features'])
            check_pipeline(case, model, classifier)


def _bank(case: Case) -> RetrievalBank:
    auxiliary = case['bank_aux'] if case['use_aux'] else None
    return RetrievalBank(case['bank_vfm'], case['bank_clip'], auxiliary, case['num_support'])


def _with_auxiliary(classifier: Classifier, rows: Tensor) -> TwoModelClassifier:
    own = {field.name: getattr(classifier, field.name) for field in fields(Classifier)}
    return TwoModelClassifier(**own, auxiliary=rows)


@torch.no_grad()
def _check_features(case: Case, visual: nn.Module, companion: dict[str, Any]) -> None:
    image, regions = case['image'], case['instance_masks'][:, 0].long()
    encoder = CorrCLIPEncoder(visual, companion, **encoder_settings(image))
    units = F.normalize(encoder.look(image).features, dim=1)
    grid = tuple(units.shape[2:])
    case.compare(EXACT, feat_shape=list(grid))
    if 'dbscan_distance' in case:  # fewer than two regions are not clustered
        distances = region_distances(units[0], resize_regions(regions, grid)[0])
        case.compare(FEATURES, dbscan_distance=distances)
        case.compare(EXACT, dbscan_labels=linked_groups(distances, _REACH))
    features = encoder(image, look=replace(encoder.look(image), regions=regions)).patch
    case.compare(FEATURES, dino_qk_normalized=tokens_of(units), features=tokens_of(features))


def _model(case: Case, clip: dict[str, Any], encoder: dict[str, Any]) -> CorrCLIP:
    return CorrCLIP(
        regions=_GivenRegions(case['instance_mask']),
        encoder={**_ENCODER, **encoder},
        clip=clip,
        **segmentor_settings(case),
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
        weight_file(read(folder / weights)) as clip,
        dino_file(read(folder / 'weights.pt')) as dino,
    ):
        yield clip, dino
