"""Parity of DenseCLIP's segmentor: features, text, scores, losses, gradients and labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.text_context import tokenize_names
from ovseg.engine.tta import OVSegTTA
from ovseg.images import Images
from ovseg.segmentors import DenseCLIP
from ovseg.training.heads.score_map import join_score_map
from parity.denseclip.cases import (
    close,
    compare_features,
    compare_gradients,
    compare_losses,
    compare_state,
    load_case,
    read_case,
    without_ignored,
)
from parity.denseclip.text_side import compare_text
from parity.report import LABELS, Case, leaves


def check_model(file: Case, folder: Path) -> None:
    """A case's weights."""
    compare_state(file, build_case(file.content))


@torch.no_grad()
def check_forward(file: Case, folder: Path) -> None:
    """Inference with values on the way."""
    model = build_case(read_case(file, folder, 'model')).eval()
    images = file['inputs']['img']
    features = model.backbone(images)
    compare_features(file.inner('backbone'), features)
    compare_text(file, model, features)
    joined = join_score_map(
        features.levels, model.match(features).score_map, model.matching_settings.score_concat_index
    )
    if 'neck' in file:
        levels = model.neck(joined)
        file.inner('neck').compare(close, {f'out{i}': level for i, level in enumerate(levels)})
    scores = model(images, mode='tensor')
    file.compare(
        close,
        concat_feature=joined[model.matching_settings.score_concat_index],
        decode_logits=model.decode_head(model.extract_feat(images)),
        encode_decode_logits_image0_class01=F.interpolate(
            scores[:1, :2], images.shape[2:], mode='bilinear'
        ),
    )


@torch.no_grad()
def check_inference(file: Case, folder: Path) -> None:
    """Scores and labels of whole images, of windows, and with test-time augmentation."""
    model = build_case(read_case(file, folder, 'model')).eval()
    images = read_case(file, folder, 'eval')['inputs']['img']
    size, configured = tuple(file['ori_shape']), model.inference_settings
    for mode in ('whole', 'slide'):
        if f'pred_{mode}' not in file:
            continue
        whole = type(configured)(mode='whole')
        model.inference_settings = whole if mode == 'whole' else configured
        encodings = model.encode(Images(images))
        scores = model.segment(encodings[0], size, keep_scores=True).scores.log()[None]
        # Ours gives probabilities; logits up to a number a pixel, which is taken from theirs.
        key = f'{mode}_logits_rescaled_image0'
        file.compare(close, {key: scores + file.wanted(key).logsumexp(1, keepdim=True)})
        labels = torch.stack([model.segment(encoding, size).labels for encoding in encodings])
        file.compare(LABELS, {f'pred_{mode}': labels})
    model.inference_settings = configured
    _check_tta(file.inner('tta'), model, images[:1], size)


def _check_tta(tta: Case, model: DenseCLIP, image: Tensor, size: tuple[int, int]) -> None:
    tta.use('order')
    wrapper, predictions = OVSegTTA(model), []  # the wrapper has scores given out
    for picture in (image, tta['small_img']):
        for flip in (False, True):
            facts = {'ori_shape': size, 'flip': flip, 'flip_direction': 'horizontal'}
            sample = SegDataSample(metainfo=facts)
            seen = picture.flip(3) if flip else picture
            predictions += model.predict(seen, [sample], keep_scores=True)
    mean = torch.stack([found.seg_logits.data.exp() for found in predictions]).mean(0)
    tta.compare(close, probs=mean[None])
    merged = wrapper.merge_preds([predictions])[0]
    tta.compare(LABELS, pred=merged.pred_sem_seg.data)


def check_training(file: Case, folder: Path) -> None:
    """A training step."""
    stored = read_case(file, folder, 'model')
    model = build_case(stored).train()
    images = read_case(file, folder, 'eval')['inputs']['img']
    labels = file['inputs']['gt_semantic_seg']
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label.long())) for label in labels]
    compare_losses(file, model.loss(images, samples))
    compare_gradients(file, model, stored['token_embedding']['ids'])
    buffers, after = dict(model.named_buffers()), file.inner('bn_after')
    after.compare(close, {key: buffers[key] for key in after})


def check_tokens(file: Case, folder: Path) -> None:
    """Token ids of bare class names, whatever data sets the file has them of.

    Names are a list of strings, ids a (K, N) tensor; whose they are, the beginnings of keys tell.
    """
    entries = dict(leaves(file.content))
    names = {path: value for path, value in entries.items() if _are_words(value)}
    for path, theirs in entries.items():
        if path in names:
            file.report.use(path)
        elif isinstance(theirs, Tensor) and theirs.ndim == 2:
            fitting = [key for key, words in names.items() if len(words) == len(theirs)]
            if fitting:  # else listed as missing
                key = max(fitting, key=lambda key: len(os.path.commonprefix([key, path])))
                file.compare_as(path, tokenize_names(names[key], theirs.shape[1]), theirs)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


def build_case(content: Mapping[str, Any], **changes: Any) -> DenseCLIP:
    """The segmentor of a case with its weights."""
    settings = _averaged_as_mmseg_0(without_ignored(content['config']))
    settings.pop('type')
    names = settings.pop('class_names')
    # Upstream's published recipe trains the text encoder.
    settings.update(freeze_text_encoder=False, vocabulary=names, **changes)
    model = DenseCLIP(**settings)
    load_case(model, content)
    return model


def _averaged_as_mmseg_0(config: Any) -> Any:
    """A config whose cross-entropies count ignored pixels in their mean, wherever they stand."""
    if isinstance(config, list | tuple):
        return [_averaged_as_mmseg_0(item) for item in config]
    if not isinstance(config, Mapping):
        return config
    config = {key: _averaged_as_mmseg_0(value) for key, value in config.items()}
    if config.get('type') == 'CrossEntropyLoss':
        config.setdefault('avg_non_ignore', False)
    return config
