"""Parity with SCLIP, NACLIP and ClearCLIP: every quantity of their golden files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.affinity import ATTENTIONS, LAST_BLOCKS, LastBlockSpec, neighbour_bias, run_block
from ovseg.encoders import CLIPViTEncoder, LoadedCLIP, load_clip
from ovseg.encoders.dino import load_dino
from ovseg.parity.attention_cases import (
    FEATURES,
    PIPELINE_INPUTS,
    PREPROCESSOR,
    check_pipeline,
    dino_file,
    read_weights,
    weight_file,
)
from ovseg.parity.report import EXACT, Report
from ovseg.segmentors import TrainingFreeSegmentor

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

# What these cases state beside PIPELINE_INPUTS.
_INPUTS = (*PIPELINE_INPUTS, 'area_thd', 'pamr_steps', 'pamr_dilations', 'gaussian_std')


def check_weights(report: Report, folder: Path) -> None:
    """The weights of the vision tower and of DINO, through the loaders of published files."""
    report.use('config')
    if 'state_dict_dino' in report.content:
        with dino_file(report.content) as settings:
            dino = load_dino(**settings).model.state_dict()
        for name, value in report.content['state_dict_dino'].items():
            report.compare(f'state_dict_dino.{name}', dino[name], value, EXACT)
    with weight_file(report.content) as (config, path):
        own = load_clip(config, path).model.state_dict()
    for name, value in report.content['state_dict_clip'].items():
        report.compare(f'state_dict_clip.{name}', own[name], value, EXACT)


def check_sclip(report: Report, folder: Path) -> None:
    """SCLIP: correlative self-attention, the plain one, pipelines with area rule and PAMR."""
    with weight_file(read_weights(folder)) as (config, path):
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
    with weight_file(read_weights(folder)) as (config, path):
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
    with weight_file(read_weights(folder)) as (config, path):
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
            data_preprocessor=PREPROCESSOR,
            pixel_refiner=pamr,
        ).eval()
        check_pipeline(report, name, case, model)
