"""Parity with SCLIP, NACLIP and ClearCLIP: every quantity of their golden files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.affinity import ATTENTIONS, LAST_BLOCKS, LastBlockSpec, neighbour_bias, run_block
from ovseg.encoders import CLIPViTEncoder, LoadedCLIP, load_clip
from ovseg.encoders.dino import load_dino
from ovseg.segmentors import TrainingFreeSegmentor
from parity.golden import read
from parity.report import Case
from parity.training_free_attention.pipelines import (
    FEATURES,
    check_pipeline,
    dino_file,
    segmentor_settings,
    weight_file,
)

_SCLIP = {'padding': 'floor', 'position_resize': 'scale_factor', 'last_block': 'sclip'}
_NACLIP = {**_SCLIP, 'last_block': 'naclip'}
# Windows are filled up to whole patches; of whole images the last partial patch is left out.
_CLEARCLIP = {**_SCLIP, 'last_block': 'clearclip'}
_CLEARCLIP_WINDOWS = {**_CLEARCLIP, 'padding': 'centred'}

# The references' words for attentions -> ours.
_NACLIP_ATTENTIONS = {
    'naclip': 'kk',
    'kk': 'kk',
    'vanilla': 'qk',
    'csa': 'qq+kk',
    'nonly': 'neighbours',
}
_WITH_NEIGHBOURS = ('naclip', 'nonly')
_CLEARCLIP_ATTENTIONS = {'vanilla': 'qk', 'MaskCLIP': 'value', 'SCLIP': 'qq+kk', 'ClearCLIP': 'qq'}
_GAUSSIAN = 'gaussian_addition_std'


def check_weights(file: Case, folder: Path) -> None:
    """The weights of the vision tower and of DINO, through the loaders of published files."""
    file.use('config')
    if 'state_dict_dino' in file:
        with dino_file(file.content) as settings:
            file.compare_weights('state_dict_dino', load_dino(**settings).model.state_dict())
    with weight_file(file.content) as clip:
        file.compare_weights('state_dict_clip', load_clip(**clip).model.state_dict())


def check_sclip(file: Case, folder: Path) -> None:
    """SCLIP: correlative self-attention, the plain one, pipelines with area rule and PAMR."""
    with _loaded(folder) as (clip, loaded):
        for case in file.cases('features'):
            image = case['image']
            csa, qk = (
                _all_tokens(loaded, LAST_BLOCKS[preset], image) for preset in ('sclip', 'vanilla')
            )
            # The reference keeps the first two maps of (B * heads): two heads of image 0.
            weights = _attention_weights(loaded, image).flatten(0, 1)[:2]
            case.compare(FEATURES, csa=csa, qk=qk, csa_attn=weights)
        for case in file.cases('pipelines'):
            # Upstream refines what it sees in windows; whole images stay as they are.
            pamr = _pamr(case)
            _check(case, clip, _SCLIP, pixel_refiner=pamr if case['slide_crop'] else None)


def check_naclip(file: Case, folder: Path) -> None:
    """NACLIP: its architectures, attentions and Gaussians; pipelines with PAMR."""

    def spec_of(key: str) -> LastBlockSpec:
        architecture, attention, std = key.split('/')
        whole_block = architecture == 'vanilla'
        return LastBlockSpec(
            _NACLIP_ATTENTIONS[attention],
            residual=whole_block,
            ffn=whole_block,
            neighbour_std=float(std) if attention in _WITH_NEIGHBOURS else None,
        )

    with _loaded(folder) as (clip, loaded):
        for case in file.cases('features'):
            _check_features(case, loaded, spec_of, first=0)
            patch = loaded.model.visual.patch_size[0]
            grid = tuple(side // patch for side in case['image'].shape[-2:])
            for key in case:
                if key.startswith(_GAUSSIAN):
                    std = float(key.removeprefix(_GAUSSIAN))
                    case.compare(FEATURES, {key: neighbour_bias(grid, std)[None]})
        for case in file.cases('pipelines'):
            spec = replace(LAST_BLOCKS['naclip'], neighbour_std=case['gaussian_std'])
            settings = segmentor_settings(case, 'via_input')
            settings['test_cfg']['normalize_scores'] = True
            encoder = {**_NACLIP, 'last_block': spec}
            _check(case, clip, encoder, pixel_refiner=_pamr(case), **settings)


def check_clearclip(file: Case, folder: Path) -> None:
    """ClearCLIP: its attentions with and without residual and MLP; pipelines with padding."""

    def spec_of(key: str) -> LastBlockSpec:
        attention, _, ignores = key.partition('/ignore_residual=')
        whole_block = ignores == 'False'
        return LastBlockSpec(_CLEARCLIP_ATTENTIONS[attention], whole_block, whole_block)

    with _loaded(folder) as (clip, loaded):
        for case in file.cases('features'):
            _check_features(case, loaded, spec_of, first=1)
        for case in file.cases('pipelines'):
            _check(case, clip, _CLEARCLIP_WINDOWS if case['slide_crop'] else _CLEARCLIP)


@contextmanager
def _loaded(folder: Path) -> Iterator[tuple[dict[str, Any], LoadedCLIP]]:
    with weight_file(read(folder / 'weights.pt')) as clip:
        yield clip, load_clip(**clip)


def _check_features(
    case: Case, loaded: LoadedCLIP, spec_of: Callable[[str], LastBlockSpec], first: int
) -> None:
    """Every setting that a case has under a name with a slash, from the token `first` on."""
    image = case['image']
    for key in case:
        if '/' in key:
            case.compare(FEATURES, {key: _all_tokens(loaded, spec_of(key), image)[:, first:]})


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


def _check(
    case: Case, clip: Mapping[str, Any], encoder: Mapping[str, Any], **settings: Any
) -> None:
    settings = {**segmentor_settings(case), **settings}
    check_pipeline(case, TrainingFreeSegmentor(clip=clip, encoder=encoder, **settings).eval())


def _pamr(case: Case) -> dict[str, Any] | None:
    steps, dilations = case['pamr_steps'], case['pamr_dilations']
    return {'type': 'PAMR', 'steps': steps, 'dilations': dilations} if steps else None
