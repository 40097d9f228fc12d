"""Parity with Trident: weights, units, and cases from pixels to labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.encoders import load_clip
from ovseg.encoders.dino import load_dino
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import resize_to_multiple
from ovseg.guides.sam_correlation import SAMCorrelation, correlation_rows, valid_patches
from ovseg.images import Images
from ovseg.images.windows import cut_windows, whole_patches, window_boxes
from ovseg.scores.coarse_map import STRIPS
from ovseg.scores.decide import decide
from ovseg.segmentors.trident import Trident
from ovseg.text import Classifier, build_classifier
from ovseg.vocabulary import Rejection, build_vocabulary
from parity.golden import read, saved
from parity.report import EXACT, LABELS, Case, Tolerance
from parity.training_free_attention.pipelines import (
    ONE_LEVEL,
    PIXEL_SUM,
    PROBABILITIES,
    resized_bgr,
)
from parity.trident.model import clip_file, golden_trident, spatial
from parity.trident.refinement import check_fusion, check_regions, compare_refinement

FEATURES = Tolerance(atol=1e-4, rtol=1e-4)
COUNT = Tolerance(rtol=1e-4)
# Small, so that the cases' attentions go through several blocks.
_BLOCK_MEGABYTES = 4.0


def check_clip_weights(file: Case, folder: Path) -> None:
    """A CLIP through the loader of published files."""
    file.use('config')
    with clip_file(file.content) as clip:
        file.compare_weights('state_dict', load_clip(**clip).model.state_dict())


def check_dino_weights(file: Case, folder: Path) -> None:
    """A DINO through the loader of published files."""
    _check_saved(file, lambda config, path: load_dino(config, path).model)


def check_sam_weights(file: Case, folder: Path) -> None:
    """A SAM through the loader of published files."""
    _check_saved(file, lambda config, path: load_sam(config, path).model)


def _check_saved(file: Case, load: Callable[[Any, str], nn.Module]) -> None:
    with saved(weights=file.content['state_dict']) as files:
        own = load(file['config'], files['weights']).state_dict()
    file.compare_weights('state_dict', own)


def check_units(file: Case, folder: Path) -> None:
    """Affinity, resize rule and windows; regions and fusion of the refinement."""
    for case in file.cases('affinity'):
        _check_affinity(case)
    sizes = [
        [*row[:4], *whole_patches((row[0], row[1]), (row[2],) * 2, (row[3],) * 2)]
        for row in file.wanted('preprocess')
    ]
    file.compare(EXACT, preprocess=sizes)
    for case in file.cases('windows'):
        case.use('any_pad')
        boxes = window_boxes(tuple(case['hw']), (case['crop'],) * 2, (case['stride'],) * 2)
        coordinates = torch.tensor(boxes) // case['patch']
        case.compare(EXACT, coords=coordinates, grid=_window_grid(boxes))
    for case in file.cases('regions'):
        check_regions(case)
    check_fusion(file.inner('fusion'))


def _check_affinity(case: Case) -> None:
    settings = SAMCorrelation(case['cos_fac'], case['refine_neg_cos'])
    units = F.normalize(case['sam_v'][0].flatten(1, 2), dim=-1)
    thresholds = settings.thresholds(units)
    rows = [
        settings.rows(case['sam_attn'][0][:, i : i + 8], units, thresholds, slice(i, i + 8))
        for i in range(0, units.shape[1], 8)
    ]
    case.compare(FEATURES, affinity=torch.cat(rows))


def _window_grid(boxes: list[tuple[int, int, int, int]]) -> list[int]:
    return [len({box[0] for box in boxes}), len({box[1] for box in boxes})]


@torch.no_grad()
def check_case(file: Case, folder: Path) -> None:
    """One image from pixels to labels, with every stage between."""
    config = file['config']
    with golden_trident(folder, config, _BLOCK_MEGABYTES) as model:
        _check_text(file, model, read(folder / config['weights_clip'])['config'])
        with torch.inference_mode():
            inputs = _check_inputs(file, model)
            spliced = _check_windows(file.inner('mid'), model, inputs)
            original = file.content['inputs']['image_rgb_uint8'].numpy()
            shown = resize_to_multiple(original, model.encoder.stride[0])
            _check_sam(file.inner('mid'), model, shown)
            encoding = model.encode(Images(inputs, [original]))[0]
            aggregated, _ = model.aggregated(spliced, shown)
            ours = {'aggregated_s2': aggregated, 'clip_features_s2': encoding.features.patch}
            ours = {name: spatial(maps, 2)[0].permute(1, 2, 0) for name, maps in ours.items()}
            file.inner('mid').compare(FEATURES, ours)
            _check_outputs(file, model, encoding, original.shape[:2])


def _check_text(file: Case, model: Trident, clip: dict[str, Any]) -> None:
    lines = file['config']['class_lines']
    words = [word for line in lines for word in line.split('; ')]
    file.inner('inputs').compare(EXACT, query_words=words)
    if not clip['has_text_tower']:
        file.leave('text', 'the text tower that made it is not in the golden files')
        return
    vocabulary = build_vocabulary({'classes': [{'name': w, 'prompts': [w]} for w in words]})
    classifier = build_classifier(vocabulary, model.text.encoder, templates='openai-80')
    file.inner('text').compare(FEATURES, tower_query_features=classifier.weight)


def _check_inputs(file: Case, model: Trident) -> Tensor:
    """The network's input, as the test pipeline makes it of the original image."""
    inputs, config = file.inner('inputs'), file['config']
    image = inputs['image_rgb_uint8'].numpy()
    inputs.compare_as('image_rgb_uint8', list(image.shape[:2]), config['ori_hw'])
    bgr = resized_bgr(image, config['resized_hw'])
    if 'resized_rgb_uint8' in inputs:
        inputs.compare(ONE_LEVEL, resized_rgb_uint8=bgr.flip(0).permute(1, 2, 0))
        bgr = inputs.wanted('resized_rgb_uint8').permute(2, 0, 1).flip(0)
    made = model.data_preprocessor({'inputs': [bgr], 'data_samples': []})['inputs']
    inputs.compare(EXACT, preprocessed_shape=list(made.shape))
    inputs.compare(PIXEL_SUM, preprocessed_sum=made.double().sum())
    for key in inputs:
        step = key.removeprefix('preprocessed_s')
        if step.isdigit():
            inputs.compare(FEATURES, {key: spatial(made, int(step))})
    return made


def _check_windows(mid: Case, model: Trident, inputs: Tensor) -> Tensor:
    image, boxes = model.windows(inputs)
    windows, patch = cut_windows(image, boxes), model.encoder.stride[0]
    mid.compare(
        EXACT,
        window_grid=_window_grid(boxes),
        spliced_hw=[side // patch for side in image.shape[-2:]],
        window_batch_shape=list(windows.shape),
        window_coords=torch.tensor(boxes) // patch,
    )
    at_once = model.inference_settings.window_batch
    companions = model.companions(windows, at_once)
    kept = len(mid.wanted('dino_feats'))
    tokens, _, _ = model.encoder.trunk(windows[:kept])
    normed = model.encoder.visual.transformer.resblocks[-1].ln_1(tokens)[:, 1:]
    mixed = model.mixed_windows(windows, companions, at_once)[:kept].flatten(2).transpose(1, 2)
    spliced = model.spliced(inputs)
    mid.compare(
        FEATURES,
        window0_s4=spatial(windows[0], 4),
        dino_feats=companions[:kept],
        clip_ln1_tokens=normed,
        proxy_out=mixed,
        spliced=spliced,
    )
    return spliced


def _check_sam(mid: Case, model: Trident, shown: np.ndarray) -> None:
    """SAM's grid, values and correlation, for each part that it sees."""
    sam, asked = model.sam, torch.as_tensor(mid['affinity_rows'])
    parts = {key: mid.inner(key) for key in ('sam_v_s2', 'affinity', 'affinity_row_max')}
    grids, counts = [], []
    for index, pixels in enumerate(model.sam_parts(shown)):
        frame = sam.prepare(pixels)
        grid = sam.grid(frame.input_size)
        tokens = sam.trunk(frame)
        attention = sam.last_attention(tokens)
        frame_grid = tuple(tokens.shape[1:3])
        values = attention.values.unflatten(1, frame_grid)[:, ::2, ::2]
        rows, columns = (-(-side // 2) for side in grid)
        if index == 0 and 'sam_features_s2' in mid:
            embedding = sam.embedding(tokens, attention.apply(sam.queries_at_once()))
            mid.compare(FEATURES, sam_features_s2=spatial(embedding, 2))
        inside = valid_patches(frame_grid, grid)
        correlated = correlation_rows(attention, inside, model.correlation, sam.queries_at_once())
        matrix = torch.cat([block for _, block, _ in correlated])
        grids.append(list(grid))
        counts.append(int((matrix > 0).sum()))
        ours = {
            'sam_v_s2': values[None, :, :rows, :columns],
            'affinity': matrix[asked[: len(parts['affinity'].wanted(index))]],
            'affinity_row_max': matrix.amax(1),
        }
        for key, value in ours.items():
            parts[key].compare(FEATURES, {index: value})
    mid.compare(EXACT, sam_grid=grids)
    mid.compare(COUNT, affinity_nnz=torch.tensor(counts).double())


def _check_outputs(file: Case, model: Trident, encoding: Any, size: tuple[int, int]) -> None:
    outputs, classifier = file.inner('outputs'), _classifier(file)
    size = tuple(size)
    scores = model.scores(encoding, classifier, size)
    outputs.compare(FEATURES, logits_s2=spatial(scores.whole(STRIPS), 2)[None])
    coarse = decide(scores, model.rule(classifier), STRIPS, keep_scores=True)
    outputs.compare(LABELS, coarse_pred=coarse.labels[None])
    if model.refinement is None:
        outputs.compare(PROBABILITIES, probs_s2=spatial(coarse.scores, 2))
        return
    sam = model.prompted
    compare_refinement(
        file.inner('refine'), model.refinement, sam, encoding.sam, coarse.labels, coarse.shares
    )
    labels = model.segment(encoding, size, classifier).labels
    outputs.compare(LABELS, refined_pred=labels[None])
    # As released: 0 where no mask is. The segmentor fills in what was before.
    refined = model.refinement(sam, encoding.sam, coarse.labels, coarse.shares, True).scores
    outputs.compare(
        PROBABILITIES, probs_s2=spatial(refined, 2), refined_logits_s2=spatial(refined, 2)
    )


def _classifier(file: Case) -> Classifier:
    inputs, config = file.inner('inputs'), file['config']
    return Classifier(
        weight=inputs['query_features'],
        class_index=inputs['query_idx'],
        num_classes=len(config['class_lines']),
        logit_scale=float(config['logit_scale']),
        aggregation='max',
        rejection=Rejection('class_zero', float(config['prob_thd'])),
        background_index=0,
    )
