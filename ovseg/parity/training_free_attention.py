"""Parity with SCLIP, NACLIP and ClearCLIP: every quantity of their golden files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from torch import Tensor

from ovseg.attention import ATTENTIONS, LAST_BLOCKS, LastBlockSpec, neighbour_bias, run_block
from ovseg.backbones import CLIPViTEncoder, LoadedCLIP, load_clip
from ovseg.backbones.clip import build_architecture
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.segmentors import TrainingFreeSegmentor
from ovseg.segmentors.pixel_stage import PixelStage, refined_strips
from ovseg.segmentors.upsample import ScoreMaps, output_strips
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection

FEATURES = Tolerance(atol=1e-4)
PROBABILITIES = Tolerance(atol=1e-3)
LABELS = Tolerance(share=0.001)
ONE_LEVEL = Tolerance(atol=1.0)  # one uint8 level, where another build of OpenCV rounds otherwise
PIXEL_SUM = Tolerance(atol=0.05)
_STRIP_BYTES = 2**15  # small, so that the cases go through several strips

# The statistics that the released code normalises with: CLIP's, rounded to three digits.
_PREPROCESSOR = {
    'type': 'SegDataPreProcessor',
    'mean': [122.771, 116.746, 104.094],
    'std': [68.501, 66.632, 70.323],
    'bgr_to_rgb': True,
}
_SCLIP = {'padding': 'floor', 'position_resize': 'scale_factor', 'last_block': 'sclip'}
_NACLIP = {**_SCLIP, 'last_block': 'naclip'}
_CLEARCLIP = {**_SCLIP, 'last_block': 'clearclip', 'padding': 'centred'}

# The references' words for attentions -> ours.
_NACLIP_ATTENTIONS = {
    'naclip': 'kk',
    'kk': 'kk',
    'vanilla': 'qk',
    'csa': 'qq+kk',
    'nonly': 'neighbours',
}
_WITH_NEIGHBOURS = ('naclip', 'nonly')
_CLEARCLIP_ATTENTIONS = {
    'vanilla': 'qk',
    'MaskCLIP': 'value',
    'SCLIP': 'qq+kk',
    'ClearCLIP': 'qq',
}

# What a pipeline case states, to be read and not compared.
_INPUTS = (
    *('name', 'image_rgb_uint8', 'resized_hw', 'slide_stride', 'slide_crop', 'query_idx'),
    *('query_features', 'logit_scale', 'prob_thd', 'area_thd', 'pamr_steps', 'pamr_dilations'),
    'gaussian_std',
)


def check_weights(report: Report, folder: Path) -> None:
    """The vision tower's weights, through the loader of published files."""
    report.use('config')
    if 'state_dict_dino' in report.content:
        report.leave('state_dict_dino', 'DINO is read by ProxyCLIP only, which is not built yet')
    with _weight_file(report.content) as (config, path):
        own = load_clip(config, path).model.state_dict()
    for name, value in report.content['state_dict_clip'].items():
        report.compare(f'state_dict_clip.{name}', own[name], value, EXACT)


def check_sclip(report: Report, folder: Path) -> None:
    """SCLIP: correlative self-attention, the plain one, pipelines with area rule and PAMR."""
    with _weight_file(_weights(folder)) as (config, path):
        loaded = load_clip(config, path)
        for name, case in report.content['features'].items():
            report.use(f'features.{name}.image')
            for key, preset in (('csa', 'sclip'), ('qk', 'vanilla')):
                ours = _all_tokens(loaded, LAST_BLOCKS[preset], case['image'])
                report.compare(f'features.{name}.{key}', ours, case[key], FEATURES)
            # The reference keeps the first two maps of (B * heads): two heads of image 0.
            weights = _attention_weights(loaded, case['image']).flatten(0, 1)[:2]
            report.compare(f'features.{name}.csa_attn', weights, case['csa_attn'], FEATURES)
        _check_pipelines(report, config, path, _SCLIP, whole='direct')


def check_naclip(report: Report, folder: Path) -> None:
    """NACLIP: its architectures, attentions and Gaussians; pipelines with PAMR."""
    with _weight_file(_weights(folder)) as (config, path):
        loaded = load_clip(config, path)
        for name, case in report.content['features'].items():
            report.use(f'features.{name}.image')
            for key in case:
                if '/' not in key:
                    continue
                architecture, attention, std = key.split('/')
                whole_block = architecture == 'vanilla'
                spec = LastBlockSpec(
                    _NACLIP_ATTENTIONS[attention],
                    residual=whole_block,
                    ffn=whole_block,
                    neighbour_std=float(std) if attention in _WITH_NEIGHBOURS else None,
                )
                ours = _all_tokens(loaded, spec, case['image'])
                report.compare(f'features.{name}.{key}', ours, case[key], FEATURES)
            patch = loaded.model.visual.patch_size[0]
            grid = tuple(side // patch for side in case['image'].shape[-2:])
            path_of = f'features.{name}.gaussian_addition_std5'
            theirs = case['gaussian_addition_std5']
            report.compare(path_of, neighbour_bias(grid, 5.0)[None], theirs, FEATURES)
        _check_pipelines(report, config, path, _NACLIP, normalize_scores=True)


def check_clearclip(report: Report, folder: Path) -> None:
    """ClearCLIP: its attentions with and without residual and MLP; pipelines with padding."""
    with _weight_file(_weights(folder)) as (config, path):
        loaded = load_clip(config, path)
        for name, case in report.content['features'].items():
            report.use(f'features.{name}.image')
            for key in case:
                if '/' not in key:
                    continue
                attention, _, ignores = key.partition('/ignore_residual=')
                whole_block = ignores == 'False'
                spec = LastBlockSpec(_CLEARCLIP_ATTENTIONS[attention], whole_block, whole_block)
                ours = _all_tokens(loaded, spec, case['image'])[:, 1:]
                report.compare(f'features.{name}.{key}', ours, case[key], FEATURES)
        _check_pipelines(report, config, path, _CLEARCLIP)


@torch.inference_mode()
def _all_tokens(loaded: LoadedCLIP, spec: LastBlockSpec, image: Tensor) -> Tensor:
    """Projected tokens (B, 1 + h*w, E); patches as the encoder gives them."""
    visual = loaded.model.visual
    encoder = CLIPViTEncoder(visual, spec, 'scale_factor', 'floor')
    patches = encoder(image).patch.flatten(2).transpose(1, 2)
    # Encoders give no class token after a replaced block; the references' files hold it, too.
    tokens, grid, _ = encoder.trunk(image)
    bias = None if spec.neighbour_std is None else neighbour_bias(grid, spec.neighbour_std)
    last = run_block(visual.transformer.resblocks[-1], tokens, spec, bias=bias)
    class_token = visual.ln_post(last.tokens[:, :1]) @ visual.proj
    return torch.cat([class_token, patches], dim=1)


@torch.inference_mode()
def _attention_weights(loaded: LoadedCLIP, image: Tensor) -> Tensor:
    """SCLIP's attention weights (B, heads, N, N): what it makes of values that are unit vectors."""
    visual = loaded.model.visual
    tokens, _, _ = CLIPViTEncoder(visual, 'sclip', 'scale_factor', 'floor').trunk(image)
    block = visual.transformer.resblocks[-1]
    projected = torch.nn.functional.linear(
        block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias
    )
    q, k, _ = (
        part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)
        for part in projected.chunk(3, dim=-1)
    )
    units = torch.eye(tokens.shape[1]).expand(*q.shape[:2], -1, -1)
    return ATTENTIONS['qq+kk'][0](q, k, units)


def _check_pipelines(
    report: Report,
    config: Mapping[str, Any],
    weights: str,
    encoder: Mapping[str, Any],
    whole: str = 'via_input',
    **settings: Any,
) -> None:
    for index, case in enumerate(report.content['pipelines']):
        name = f'pipelines.{index}'
        report.use(*(f'{name}.{key}' for key in _INPUTS if key in case))
        crop, last_block = case['slide_crop'], LAST_BLOCKS[encoder['last_block']]
        if 'gaussian_std' in case:
            last_block = replace(last_block, neighbour_std=case['gaussian_std'])
        test_cfg = {'mode': 'whole', 'upsampling': whole}
        if crop:
            test_cfg = {'mode': 'slide', 'crop_size': crop, 'stride': case['slide_stride']}
        pamr = None
        if case.get('pamr_steps'):
            dilations = case['pamr_dilations']
            pamr = {'type': 'PAMR', 'steps': case['pamr_steps'], 'dilations': dilations}
        model = TrainingFreeSegmentor(
            clip={'model': config, 'pretrained': weights},
            encoder={**encoder, 'last_block': last_block},
            text={'cache_dir': None},
            test_cfg={**test_cfg, **settings},
            data_preprocessor=_PREPROCESSOR,
            pixel_refiner=pamr,
        ).eval()
        _check_pipeline(report, name, case, model)


@torch.inference_mode()
def _check_pipeline(report: Report, name: str, case: dict, model: TrainingFreeSegmentor) -> None:
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
    encoding = model.encode_image(inputs)
    classifier, size = _classifier(case), tuple(image.shape[:2])
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


def _classifier(case: dict) -> Classifier:
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


def _weights(folder: Path) -> dict[str, Any]:
    return torch.load(folder / 'weights.pt', map_location='cpu', weights_only=True)


@contextmanager
def _weight_file(content: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """An open_clip model config and a file as published, of a golden file's vision tower.

    The text tower, which the golden file leaves out, is a tiny random one: queries are given.

    Args:
        content: ``weights.pt``.
    """
    golden = content['config']['clip']
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
        torch.save({**state, **content['state_dict_clip']}, path)
        yield config, path
