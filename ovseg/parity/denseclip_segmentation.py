"""Parity of DenseCLIP's segmentor: features, text, scores, losses, gradients and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from ovseg.engine.tta import OVSegTTA
from ovseg.parity.denseclip_cases import (
    LABELS,
    case_of,
    close,
    compare_gradients,
    compare_losses,
    compare_state,
    compare_tensors,
    load_case,
    read_case,
    without_ignored,
)
from ovseg.parity.report import EXACT, Report
from ovseg.segmentors import DenseCLIP
from ovseg.training.heads.pixel_text_matching import join_score_map, tokenize_names


def check_segmentor(report: Report, folder: Path) -> None:
    """A file of a case ``*_seg``: its weights, inference with values on the way, or training."""
    case, part = case_of(report)
    stored = report.content if part == 'model' else read_case(folder, case, 'model')
    model = build_case(stored)
    if part == 'model':
        compare_state(report, model)
    elif part == 'eval':
        _check_forward(report, model.eval())
    elif part == 'infer':
        _check_inference(report, model.eval(), read_case(folder, case, 'eval')['inputs'])
    else:
        images = read_case(folder, case, 'eval')['inputs']['img']
        _check_training(report, model.train(), images, stored['token_embedding']['ids'])


def check_tokens(report: Report, folder: Path) -> None:
    """Token ids of the bare class names of ADE20K and COCO."""
    for name in ('ade20k', 'coco'):
        report.use(f'{name}_names')
        theirs = report.content[f'{name}_texts_len5']
        ours = tokenize_names(report.content[f'{name}_names'], theirs.shape[1])
        report.compare(f'{name}_texts_len5', ours, theirs, EXACT)


def build_case(content: dict[str, Any], **changes: Any) -> DenseCLIP:
    """The segmentor of a case with its weights.

    Args:
        content: of ``<case>_model.pt``.
        changes: arguments that replace the case's.
    """
    settings = without_ignored(content['config'])
    settings.pop('type')
    for head in settings.values():
        if isinstance(head, dict) and 'loss_decode' in head:
            head['loss_decode']['avg_non_ignore'] = False  # as in mmseg 0.x
    names = settings.pop('class_names')
    # Upstream's published recipe trains the text encoder.
    settings.update(freeze_text_encoder=False, vocabulary=names, **changes)
    model = DenseCLIP(**settings)
    load_case(model, content)
    return model


@torch.no_grad()
def _check_forward(report: Report, model: DenseCLIP) -> None:
    report.use('inputs')
    images = report.content['inputs']['img']
    features = model.backbone(images)
    levels = {f'level{number}': level for number, level in enumerate(features.levels)}
    embeddings = {
        'global_feat': features.global_embedding,
        'visual_embeddings': features.dense_embedding,
    }
    compare_tensors(report, 'backbone', {**levels, **embeddings})
    before, memory = model.embed_text(), model.visual_memory(features)
    matching = model.match(features)
    difference = model.context_decoder(before.expand(len(images), -1, -1), memory)
    joined = join_score_map(features.levels, matching.score_map, model.score_concat_index)
    neck = model.neck(joined)
    logits = model.decode_head(neck)
    compare_tensors(
        report,
        '',
        {
            'visual_context': memory,
            'text_embeddings_before': before,
            'text_diff': difference,
            'text_embeddings': matching.text,
            'score_map': matching.score_map,
            'concat_feature': joined[model.score_concat_index],
            'decode_logits': logits,
            'encode_decode_logits_image0_class01': F.interpolate(
                model(images, mode='tensor')[:1, :2], images.shape[2:], mode='bilinear'
            ),
        },
    )
    compare_tensors(report, 'neck', {f'out{i}': level for i, level in enumerate(neck)})


@torch.no_grad()
def _check_inference(report: Report, model: DenseCLIP, inputs: dict[str, Any]) -> None:
    content, images = report.content, inputs['img']
    size = tuple(content['ori_shape'])
    report.use('ori_shape', 'tta.small_img', 'tta.order')
    slide = model.inference_settings
    for mode in ('whole', 'slide'):
        model.inference_settings = slide if mode == 'slide' else type(slide)(mode='whole')
        encodings = model.encode_images(images)
        scores = _log_probabilities(model, encodings[0], size)
        wanted = content[f'{mode}_logits_rescaled_image0']
        report.compare(
            f'{mode}_logits_rescaled_image0',
            # Ours gives probabilities; logits up to a number a pixel, which is taken from theirs.
            scores + wanted.logsumexp(1, keepdim=True),
            wanted,
            close(wanted),
        )
        labels = torch.stack([model.segment_encoding(encoding, size) for encoding in encodings])
        report.compare(f'pred_{mode}', labels, content[f'pred_{mode}'], LABELS)
    model.inference_settings = slide
    _check_tta(report, model, images[:1], size)


def _log_probabilities(model: DenseCLIP, encoding: Any, size: tuple[int, int]) -> Tensor:
    return model.segment_encoding(encoding, size, with_scores=True)[1].log()[None]


def _check_tta(report: Report, model: DenseCLIP, image: Tensor, size: tuple[int, int]) -> None:
    tta = report.content['tta']
    versions, samples = [], []
    for picture in (image, tta['small_img']):
        for flip in (False, True):
            versions.append(picture.flip(3) if flip else picture)
            facts = {'ori_shape': size, 'flip': flip, 'flip_direction': 'horizontal'}
            samples.append([SegDataSample(metainfo=facts)])
    wrapper = OVSegTTA(model)
    predictions = [
        model.predict(picture, sample) for picture, sample in zip(versions, samples, strict=True)
    ]
    mean = torch.stack([parts[0].seg_logits.data.exp() for parts in predictions]).mean(0)
    report.compare('tta.probs', mean[None], tta['probs'], close(tta['probs']))
    merged = wrapper.merge_preds([[parts[0] for parts in predictions]])[0]
    report.compare('tta.pred', merged.pred_sem_seg.data, tta['pred'], LABELS)


def _check_training(report: Report, model: DenseCLIP, images: Tensor, ids: Tensor) -> None:
    report.use('inputs')
    labels = report.content['inputs']['gt_semantic_seg']
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label.long())) for label in labels]
    compare_losses(report, model.loss(images, samples))
    compare_gradients(report, model, ids)
    buffers = dict(model.named_buffers())
    compare_tensors(report, 'bn_after', {key: buffers[key] for key in report.content['bn_after']})
