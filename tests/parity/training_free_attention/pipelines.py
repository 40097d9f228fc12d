"""What the golden files of the training-free attention family share: weights and pipelines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mmcv
import numpy as np
import torch
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.encoders.clip import build_architecture
from ovseg.images import Images
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection
from parity.golden import clip_config, saved
from parity.report import LABELS, Case, Tolerance

FEATURES = Tolerance(atol=1e-4)
PROBABILITIES = Tolerance(atol=1e-3)
ONE_LEVEL = Tolerance(atol=1.0)  # one uint8 level, where another build of OpenCV rounds otherwise
PIXEL_SUM = Tolerance(atol=0.05)
_STRIPS = MemoryBudget(2**-5)  # small, so that the cases go through several strips

# The statistics that the released code normalises with: CLIP's, rounded to three digits.
PREPROCESSOR = {
    'type': 'SegDataPreProcessor',
    'mean': [122.771, 116.746, 104.094],
    'std': [68.501, 66.632, 70.323],
    'bgr_to_rgb': True,
}


def segmentor_settings(case: Case, upsampling: str = 'direct') -> dict[str, Any]:
    """Arguments that every segmentor of a pipeline case has."""
    crop, stride = case['slide_crop'], case['slide_stride']
    windows = {'mode': 'slide', 'crop_size': crop, 'stride': stride}
    return {
        'text': {'cache_dir': None},
        'test_cfg': windows if crop else {'mode': 'whole', 'upsampling': upsampling},
        'data_preprocessor': PREPROCESSOR,
    }


def encoder_settings(image: Tensor) -> dict[str, Any]:
    """Arguments of encoders with a companion on the image of a feature case: nothing is filled up.

    Of sides that are no whole patches CLIP leaves the rest out, and the companion sees it.
    """
    return {
        'mean': (0.48145466, 0.4578275, 0.40821073),
        'std': (0.26862954, 0.26130258, 0.27577711),
        'position_resize': 'scale_factor',
        'padding': 'centred',
        'padding_multiple': math.gcd(*image.shape[-2:]),
    }


@torch.inference_mode()
def check_pipeline(
    case: Case, model: TrainingFreeSegmentor, classifier: Classifier | None = None
) -> None:
    """From an image to its labels, every quantity on the way."""
    case.use('name')
    image = case['image_rgb_uint8'].numpy()
    bgr = resized_bgr(image, case['resized_hw'])
    case.compare(ONE_LEVEL, resized_rgb_uint8=bgr.flip(0).permute(1, 2, 0))
    bgr = case.wanted('resized_rgb_uint8').flip(-1).permute(2, 0, 1)
    inputs = model.data_preprocessor({'inputs': [bgr], 'data_samples': []})['inputs']
    case.compare(PIXEL_SUM, preprocessed_sum=inputs.double().sum())
    encoding = model.encode(Images(inputs, [image]))[0]
    size = tuple(image.shape[:2])
    own = classifier_of(case)
    classifier = own if classifier is None else classifier
    full = model.scores(encoding, classifier, size, _STRIPS).whole(_STRIPS)[None]
    decision = model.segment(encoding, size, classifier, keep_scores=True, budget=_STRIPS)
    case.compare(FEATURES, logits=full)
    case.compare(PROBABILITIES, probs=decision.scores)
    case.compare(LABELS, pred=decision.labels[None])


def resized_bgr(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """An image as the test pipeline resizes it, (3, h, w) uint8 BGR until the preprocessor."""
    resized = mmcv.imresize(np.ascontiguousarray(image[..., ::-1]), (size[1], size[0]))
    return torch.from_numpy(resized).permute(2, 0, 1)


def classifier_of(case: Case) -> Classifier:
    """The classifier that a case states."""
    index = torch.tensor(case['query_idx'])
    area = float(case.get('area_thd', 0.0))
    return Classifier(
        weight=case['query_features'],
        class_index=index,
        num_classes=int(index.max()) + 1,
        logit_scale=float(case['logit_scale']),
        aggregation='max',
        rejection=Rejection('class_zero', float(case['prob_thd']), min_area=area),
        background_index=0,
    )


@contextmanager
def weight_file(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of ``load_clip`` for a file as published, of a golden file's vision tower.

    The text tower, which the golden file leaves out, is a tiny random one: queries are given.
    """
    config = clip_config(content['config'].get('clip', content['config']))
    random = build_architecture(config).state_dict()
    text = {name: value for name, value in random.items() if not name.startswith('visual.')}
    vision = content.get('state_dict_clip', content.get('state_dict'))
    with saved(clip={**text, **vision}) as files:
        yield {'model': config, 'pretrained': files['clip']}


@contextmanager
def dino_file(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of :func:`~ovseg.encoders.dino.load_dino` for a golden file's DINO."""
    with saved(dino=content['state_dict_dino']) as files:
        yield {'model': content['config']['dino'], 'pretrained': files['dino']}


def tokens_of(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) as tokens (B, h*w, C)."""
    return maps.flatten(2).transpose(1, 2)
