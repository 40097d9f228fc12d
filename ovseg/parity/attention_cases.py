"""What the golden files of the training-free attention family share: weights and pipelines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from torch import Tensor

from ovseg.encoders.clip import build_architecture
from ovseg.parity.report import Report, Tolerance
from ovseg.scores.pixel_stage import PixelStage, refined_strips
from ovseg.scores.upsample import ScoreMaps, output_strips
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

FEATURES = Tolerance(atol=1e-4)
PROBABILITIES = Tolerance(atol=1e-3)
LABELS = Tolerance(share=0.001)
ONE_LEVEL = Tolerance(atol=1.0)  # one uint8 level, where another build of OpenCV rounds otherwise
PIXEL_SUM = Tolerance(atol=0.05)
_STRIP_BYTES = 2**15  # small, so that the cases go through several strips

# The statistics that the released code normalises with: CLIP's, rounded to three digits.
PREPROCESSOR = {
    'type': 'SegDataPreProcessor',
    'mean': [122.771, 116.746, 104.094],
    'std': [68.501, 66.632, 70.323],
    'bgr_to_rgb': True,
}
# What every pipeline case states, to be read and not compared.
PIPELINE_INPUTS = (
    *('name', 'image_rgb_uint8', 'resized_hw', 'slide_stride', 'slide_crop', 'query_idx'),
    *('query_features', 'logit_scale', 'prob_thd'),
)


@torch.inference_mode()
def check_pipeline(
    report: Report,
    name: str,
    case: dict,
    model: TrainingFreeSegmentor,
    classifier: Classifier | None = None,
) -> None:
    """From an image to its labels, every quantity on the way.

    Args:
        report: takes the lines.
        name: dotted path of the case in the file.
        case: of the file's ``pipelines``.
        model: as the case wants it.
        classifier: replaces the one that the case's queries make.
    """
    image = case['image_rgb_uint8'].numpy()
    height, width = case['resized_hw']
    # The statistics are RGB; images travel as BGR until the preprocessor, as in mmseg.
    resized = mmcv.imresize(np.ascontiguousarray(image[..., ::-1]), (width, height))
    theirs = case['resized_rgb_uint8']
    ours = torch.from_numpy(resized[..., ::-1].copy())
    report.compare(f'{name}.resized_rgb_uint8', ours.float(), theirs.float(), ONE_LEVEL)
    bgr = theirs.flip(-1).permute(2, 0, 1)
    inputs = model.data_preprocessor({'inputs': [bgr], 'data_samples': []})['inputs']
    report.compare(
        f'{name}.preprocessed_sum',
        inputs.double().sum(),
        torch.tensor(case['preprocessed_sum'], dtype=torch.float64),
        PIXEL_SUM,
    )
    encoding = model.encode_image(inputs, [image])
    size = tuple(image.shape[:2])
    classifier = classifier_of(case) if classifier is None else classifier
    full = torch.cat(list(_strips(model, encoding, classifier, size)), dim=1)[None]
    report.compare(f'{name}.logits', full, case['logits'], FEATURES)
    labels, shares = model.segment_encoding(
        encoding, size, classifier, with_scores=True, strip_megabytes=_STRIP_BYTES / 2**20
    )
    report.compare(f'{name}.probs', shares, case['probs'], PROBABILITIES)
    report.compare(f'{name}.pred', labels[None], case['pred'], LABELS)


def _strips(
    model: TrainingFreeSegmentor, encoding: Any, classifier: Classifier, size: tuple[int, int]
) -> Iterator[Tensor]:
    """Row scores at the original size, strip by strip, as the segmentor decides them."""
    scores: ScoreMaps = model.score_maps(encoding, classifier, size)
    if model.pixel_refiner is None:
        strips = output_strips(scores, size, _STRIP_BYTES)
    else:
        stage = PixelStage(model.pixel_refiner, encoding.image)
        strips = refined_strips(scores, stage, size, _STRIP_BYTES)
    for _, _, rows in strips:
        yield rows


def classifier_of(case: dict) -> Classifier:
    """The classifier that a case states.

    Args:
        case: of a file's ``pipelines``.
    """
    index = torch.tensor(case['query_idx'])
    threshold, area = float(case['prob_thd']), float(case.get('area_thd', 0.0))
    rejection = Rejection('class_zero', threshold, min_area=area)
    return Classifier(
        weight=case['query_features'],
        class_index=index,
        num_classes=int(index.max()) + 1,
        logit_scale=float(case['logit_scale']),
        aggregation='max',
        rejection=rejection,
        background_index=0,
    )


def read_weights(folder: Path, name: str = 'weights.pt') -> dict[str, Any]:
    """The golden file of weights in a folder.

    Args:
        folder: where.
        name: of the file.
    """
    return torch.load(folder / name, map_location='cpu', weights_only=True)


@contextmanager
def weight_file(content: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """An open_clip model config and a file as published, of a golden file's vision tower.

    The text tower, which the golden file leaves out, is a tiny random one: queries are given.

    Args:
        content: ``weights.pt``, or a file whose ``config`` and ``state_dict`` are the tower's.
    """
    golden = content['config'].get('clip', content['config'])
    vision = {
        name: golden[name] for name in ('image_size', 'patch_size', 'width', 'layers', 'mlp_ratio')
    }
    config = {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': {**vision, 'head_width': golden['width'] // golden['heads']},
        'text_cfg': {'context_length': 8, 'vocab_size': 16, 'width': 8, 'heads': 1, 'layers': 1},
        'quick_gelu': golden['quick_gelu'],
    }
    state = build_architecture(config).state_dict()
    state = {name: value for name, value in state.items() if not name.startswith('visual.')}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'clip.pt')
        torch.save({**state, **content.get('state_dict_clip', content.get('state_dict'))}, path)
        yield config, path


@contextmanager
def dino_file(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of :func:`~ovseg.encoders.dino.load_dino` for a golden file's DINO.

    Args:
        content: ``weights.pt``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'dino.pth')
        torch.save(content['state_dict_dino'], path)
        yield {'model': content['config']['dino'], 'pretrained': path}
