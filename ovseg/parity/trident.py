"""Parity with Trident: every quantity of its golden files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import load_clip
from ovseg.encoders.dino import load_dino
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import resize_to_multiple
from ovseg.guides.sam_correlation import SAMCorrelation, correlation_rows, valid_patches
from ovseg.images.windows import cut_windows, whole_patches, window_boxes
from ovseg.parity.attention_cases import LABELS, ONE_LEVEL, PIXEL_SUM, PROBABILITIES
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.parity.trident_files import golden_trident, read_golden, save_clip, spatial
from ovseg.parity.trident_refinement import (
    check_units_fusion,
    check_units_regions,
    compare_refinement,
)
from ovseg.scores.upsample import output_rows
from ovseg.segmentors.trident import Trident
from ovseg.text import Classifier, build_classifier
from ovseg.vocabulary import Rejection, build_vocabulary

FEATURES = Tolerance(atol=1e-4, rtol=1e-4)
COUNT = Tolerance(rtol=1e-4)
# Small, so that the cases' attentions go through several blocks.
_BLOCK_MEGABYTES = 4.0


def check_clip_weights(report: Report, folder: Path) -> None:
    """A CLIP through the loader of published files."""
    report.use('config')
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / 'clip.pt'
        own = load_clip(save_clip(report.content, path), str(path)).model.state_dict()
    _compare_weights(report, own)


def check_dino_weights(report: Report, folder: Path) -> None:
    """A DINO through the loader of published files."""
    _check_saved(report, lambda config, path: load_dino(config, path).model)


def check_sam_weights(report: Report, folder: Path) -> None:
    """A SAM through the loader of published files."""
    _check_saved(report, lambda config, path: load_sam(config, path).model)


def _check_saved(report: Report, load: Any) -> None:
    report.use('config')
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / 'weights.pth'
        torch.save(report.content['state_dict'], path)
        own = load(report.content['config'], path).state_dict()
    _compare_weights(report, own)


def _compare_weights(report: Report, own: Mapping[str, Tensor]) -> None:
    for name, value in report.content['state_dict'].items():
        report.compare(f'state_dict.{name}', own[name], value.to(own[name].dtype), EXACT)


def check_units(report: Report, folder: Path) -> None:
    """Affinity, resize rule and windows; regions and fusion of the refinement."""
    for index, case in enumerate(report.content['affinity']):
        _check_affinity(report, f'affinity.{index}', case)
    sizes = [
        [*row[:4], *whole_patches((row[0], row[1]), (row[2],) * 2, (row[3],) * 2)]
        for row in report.content['preprocess']
    ]
    report.compare('preprocess', sizes, report.content['preprocess'], EXACT)
    for index, case in enumerate(report.content['windows']):
        name, patch = f'windows.{index}', case['patch']
        report.use(*(f'{name}.{key}' for key in ('hw', 'patch', 'stride', 'crop', 'any_pad')))
        boxes = window_boxes(tuple(case['hw']), (case['crop'],) * 2, (case['stride'],) * 2)
        report.compare(f'{name}.coords', torch.tensor(boxes) // patch, case['coords'], EXACT)
        report.compare(f'{name}.grid', _window_grid(boxes), case['grid'], EXACT)
    check_units_regions(report)
    check_units_fusion(report)


def _check_affinity(report: Report, name: str, case: Mapping[str, Any]) -> None:
    report.use(*(f'{name}.{key}' for key in case if key != 'affinity'))
    settings = SAMCorrelation(case['cos_fac'], case['refine_neg_cos'])
    units = F.normalize(case['sam_v'][0].flatten(1, 2), dim=-1)
    thresholds = settings.thresholds(units)
    count = units.shape[1]
    rows = [
        settings.rows(case['sam_attn'][0][:, i : i + 8], units, thresholds, slice(i, i + 8))
        for i in range(0, count, 8)
    ]
    report.compare(f'{name}.affinity', torch.cat(rows), case['affinity'], FEATURES)


def _window_grid(boxes: list[tuple[int, int, int, int]]) -> list[int]:
    return [len({box[0] for box in boxes}), len({box[1] for box in boxes})]


def check_case(report: Report, folder: Path) -> None:
    """One image from pixels to labels, with every stage between."""
    case = report.content
    report.use('config')
    with golden_trident(folder, case['config'], _BLOCK_MEGABYTES) as model:
        _check_text(report, model, read_golden(folder / case['config']['weights_clip'])['config'])
        with torch.inference_mode():
            inputs = _check_inputs(report, model)
            spliced = _check_windows(report, model, inputs)
            original = case['inputs']['image_rgb_uint8'].numpy()
            shown = resize_to_multiple(original, model.encoder.stride[0])
            _check_sam(report, model, shown)
            encoding = model.encode_images(inputs, [original])[0]
            aggregated, _ = model.aggregated(spliced, shown)
            for path, maps in (
                ('aggregated_s2', aggregated),
                ('clip_features_s2', encoding.features.patch),
            ):
                ours = spatial(maps, 2)[0].permute(1, 2, 0)
                report.compare(f'mid.{path}', ours, case['mid'][path], FEATURES)
            _check_outputs(report, model, encoding, original.shape[:2])


def _check_text(report: Report, model: Trident, clip: Mapping[str, Any]) -> None:
    inputs = report.content['inputs']
    report.use('inputs.query_features', 'inputs.query_idx')
    lines = report.content['config']['class_lines']
    words = [word for line in lines for word in line.split('; ')]
    report.compare('inputs.query_words', words, inputs['query_words'], EXACT)
    if not clip['has_text_tower']:
        report.leave('text', 'the text tower that made it is not in the golden files')
        return
    vocabulary = build_vocabulary({'classes': [{'name': w, 'prompts': [w]} for w in words]})
    classifier = build_classifier(vocabulary, model.text_encoder, templates='openai-80')
    path = 'text.tower_query_features'
    theirs = report.content['text']['tower_query_features']
    report.compare(path, classifier.weight, theirs, FEATURES)


def _check_inputs(report: Report, model: Trident) -> Tensor:
    """The network's input, as the test pipeline makes it of the original image."""
    inputs, config = report.content['inputs'], report.content['config']
    image = inputs['image_rgb_uint8'].numpy()
    report.compare('inputs.image_rgb_uint8', list(image.shape[:2]), config['ori_hw'], EXACT)
    height, width = config['resized_hw']
    # The statistics are RGB; images travel as BGR until the preprocessor, as in mmseg.
    resized = mmcv.imresize(np.ascontiguousarray(image[..., ::-1]), (width, height))
    bgr = torch.from_numpy(resized).permute(2, 0, 1)
    if 'resized_rgb_uint8' in inputs:
        theirs = inputs['resized_rgb_uint8']
        ours = bgr.flip(0).permute(1, 2, 0)
        report.compare('inputs.resized_rgb_uint8', ours.float(), theirs.float(), ONE_LEVEL)
        bgr = theirs.permute(2, 0, 1).flip(0)
    made = model.data_preprocessor({'inputs': [bgr], 'data_samples': []})['inputs']
    shape = inputs['preprocessed_shape']
    report.compare('inputs.preprocessed_shape', list(made.shape), shape, EXACT)
    total = torch.tensor(inputs['preprocessed_sum'], dtype=torch.float64)
    report.compare('inputs.preprocessed_sum', made.double().sum(), total, PIXEL_SUM)
    for key in inputs:
        if key.startswith('preprocessed_s') and key != 'preprocessed_sum' and key[-1].isdigit():
            step = int(key.rsplit('_s', 1)[1])
            report.compare(f'inputs.{key}', spatial(made, step), inputs[key], FEATURES)
    return made


def _check_windows(report: Report, model: Trident, inputs: Tensor) -> Tensor:
    mid = report.content['mid']
    image, boxes = model.windows(inputs)
    windows, patch = cut_windows(image, boxes), model.encoder.stride[0]
    whole = [side // patch for side in image.shape[-2:]]
    for path, ours in (
        ('window_grid', _window_grid(boxes)),
        ('spliced_hw', whole),
        ('window_batch_shape', list(windows.shape)),
    ):
        report.compare(f'mid.{path}', ours, mid[path], EXACT)
    coordinates = torch.tensor(boxes) // patch
    report.compare('mid.window_coords', coordinates, mid['window_coords'], EXACT)
    report.compare('mid.window0_s4', spatial(windows[0], 4), mid['window0_s4'], FEATURES)
    companions = model.companions(windows)
    kept = len(mid['dino_feats'])
    report.compare('mid.dino_feats', companions[:kept], mid['dino_feats'], FEATURES)
    tokens, _, _ = model.encoder.trunk(windows[:kept])
    normed = model.encoder.visual.transformer.resblocks[-1].ln_1(tokens)[:, 1:]
    report.compare('mid.clip_ln1_tokens', normed, mid['clip_ln1_tokens'], FEATURES)
    mixed = model.mixed_windows(windows, companions)[:kept].flatten(2).transpose(1, 2)
    report.compare('mid.proxy_out', mixed, mid['proxy_out'], FEATURES)
    spliced = model.spliced(inputs)
    report.compare('mid.spliced', spliced, mid['spliced'], FEATURES)
    return spliced


def _check_sam(report: Report, model: Trident, shown: np.ndarray) -> None:
    """SAM's grid, values and correlation, for each part that it sees."""
    mid, sam = report.content['mid'], model.sam
    grids, counts = [], []
    for index, pixels in enumerate(model.sam_parts(shown)):
        frame = sam.prepare(pixels)
        grid = sam.grid(frame.input_size)
        tokens = sam.trunk(frame)
        attention = sam.last_attention(tokens)
        frame_grid = tuple(tokens.shape[1:3])
        values = attention.values.unflatten(1, frame_grid)[:, ::2, ::2]
        rows, columns = (-(-side // 2) for side in grid)
        path = f'mid.sam_v_s2.{index}'
        report.compare(path, values[None, :, :rows, :columns], mid['sam_v_s2'][index], FEATURES)
        if index == 0 and 'sam_features_s2' in mid:
            embedding = sam.embedding(tokens, attention.apply(sam.queries_at_once()))
            path = 'mid.sam_features_s2'
            report.compare(path, spatial(embedding, 2), mid['sam_features_s2'], FEATURES)
        inside = valid_patches(frame_grid, grid)
        matrix = torch.cat(
            [
                rows
                for _, rows, _ in correlation_rows(
                    attention, inside, model.correlation, sam.queries_at_once()
                )
            ]
        )
        grids.append(list(grid))
        counts.append(int((matrix > 0).sum()))
        picked = matrix[torch.as_tensor(mid['affinity_rows'])[: len(mid['affinity'][index])]]
        report.compare(f'mid.affinity.{index}', picked, mid['affinity'][index], FEATURES)
        path = f'mid.affinity_row_max.{index}'
        report.compare(path, matrix.amax(1), mid['affinity_row_max'][index], FEATURES)
    report.use('mid.affinity_rows')
    report.compare('mid.sam_grid', grids, mid['sam_grid'], EXACT)
    counted, theirs = torch.tensor(counts).double(), torch.tensor(mid['affinity_nnz']).double()
    report.compare('mid.affinity_nnz', counted, theirs, COUNT)


def _check_outputs(report: Report, model: Trident, encoding: Any, size: tuple[int, int]) -> None:
    outputs, classifier = report.content['outputs'], _classifier(report.content)
    maps = model.score_maps(encoding, classifier, tuple(size))
    logits = output_rows(maps, tuple(size), 0, size[0])
    report.compare('outputs.logits_s2', spatial(logits, 2)[None], outputs['logits_s2'], FEATURES)
    coarse = model.coarse_labels(encoding, tuple(size), classifier)
    report.compare('outputs.coarse_pred', coarse[None], outputs['coarse_pred'].long(), LABELS)
    labels, shares = model.segment_encoding(encoding, tuple(size), classifier, with_scores=True)
    if 'probs_s2' in outputs:
        theirs = outputs['probs_s2']
        report.compare('outputs.probs_s2', spatial(shares, 2), theirs, PROBABILITIES)
    if model.refinement is not None:
        scores = model.coarse_scores(encoding, tuple(size), classifier)
        compare_refinement(
            report, report.content, model.refinement, model.sam.sam, encoding.sam, coarse, scores
        )
        path = 'outputs.refined_pred'
        report.compare(path, labels[None], outputs['refined_pred'].long(), LABELS)
        theirs = outputs['refined_logits_s2']
        report.compare('outputs.refined_logits_s2', spatial(shares, 2), theirs, PROBABILITIES)


def _classifier(case: Mapping[str, Any]) -> Classifier:
    index = case['inputs']['query_idx']
    config = case['config']
    return Classifier(
        weight=case['inputs']['query_features'],
        class_index=index,
        num_classes=len(config['class_lines']),
        logit_scale=float(config['logit_scale']),
        aggregation='max',
        rejection=Rejection('class_zero', float(config['prob_thd'])),
        background_index=0,
    )
