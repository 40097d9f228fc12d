"""Parity with DenseCLIP's backbones: their outputs, and how they start from CLIP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.encoders import CLIPResNet, CLIPResNetWithAttention, CLIPVisionTransformer
from ovseg.encoders.clip_initialisation import clip_state, text_encoder_state, unmatched
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.registry import MODELS
from ovseg.weight_files import load_strictly
from parity.denseclip.cases import close, compare_features, without_ignored
from parity.golden import saved
from parity.report import EXACT, Case, leaves

_BACKBONE_INPUTS = ('type', 'config', 'state_dict', 'img')


@torch.inference_mode()
def check_backbones(file: Case, folder: Path) -> None:
    """Levels of ResNets and ViTs, and their embeddings where they have a text space."""
    for name in file:
        case = file.inner(name)
        config = {'type': case['type'], '_scope_': 'ovseg', **without_ignored(case['config'])}
        backbone = MODELS.build(config).eval()
        load_strictly(backbone, case['state_dict'], name)
        given = backbone(case['img'])
        has_text_space = isinstance(given, TextAlignedFeatures)
        levels = given.levels if has_text_space else given
        parts = {key: value for key, value in case.content.items() if key not in _BACKBONE_INPUTS}
        theirs = dict(leaves(parts))
        case.compare_as('outs', len(levels) + 2 * has_text_space, len(theirs))
        for path, value in theirs.items():
            if level := re.search(r'level([0-3])$', path):
                case.compare_as(path, levels[int(level[1])], value, close)
            elif has_text_space:
                ours = given.global_embedding if value.ndim == 2 else given.dense_embedding
                case.compare_as(path, ours, value, close)


@torch.inference_mode()
def check_detection_pool(file: Case, folder: Path) -> None:
    """The attention pool with a cropped position table, and its map as a level."""
    settings = {**without_ignored(file['config']), 'position': 'crop'}
    for case in file.cases('cases'):
        backbone = CLIPResNetWithAttention(**settings).eval()
        load_strictly(backbone, file['state_dict'], 'state_dict')
        compare_features(case, backbone(case['img']))
    with_embeddings = CLIPResNetWithAttention(**{**settings, 'att_level3': True}).eval()
    found = with_embeddings(file.content['cases'][-1]['img'])
    shapes: list[Any] = [list(level.shape) for level in found.levels]
    shapes.append([list(found.global_embedding.shape), list(found.dense_embedding.shape)])
    file.compare(EXACT, att_level3_shapes=shapes)


@torch.inference_mode()
def check_resnet_mapping(file: Case, folder: Path) -> None:
    """A CLIP archive in the text tower and in the ResNets with and without attention pool."""
    config, state = file['config'], file['clip_state_dict']
    file.use('note')
    sizes = {'layers': config['layers'], 'width': config['width']}
    with saved(clip=state) as files:
        _check_text(file.inner('text'), clip_state(files['clip'], keep=False))
        for name in (name for name in file if name.startswith('attn_res')):
            case = file.inner(name)
            backbone = CLIPResNetWithAttention(
                output_dim=config['embed_dim'],
                input_resolution=case['input_resolution'],
                pretrained=files['clip'],
                **sizes,
            )
            backbone.init_weights()
            table = backbone.attnpool.positional_embedding
            case.compare(close, attnpool_positional_embedding=table)
            _check_names(case, backbone, state)
            if f'forward_{name}' in file:
                forward = file.inner(f'forward_{name}')
                compare_features(forward, backbone.eval()(forward['img']))
        plain = CLIPResNet(**sizes, pretrained=files['clip'])
        plain.init_weights()
        _check_names(file.inner('plain'), plain, state)


@torch.inference_mode()
def check_vit_mapping(file: Case, folder: Path) -> None:
    """A CLIP archive in the ViT: resized position tables, names left over and names missing."""
    table, filters = 'source_positional_embedding_first8', 'source_conv1_weight_first8'
    names = file['visual_keys']
    # The archive's table and filters are those of ViT-B/16; the file has their first channels.
    layers = len({name.split('.')[3] for name in names if '.resblocks.' in name})
    vit_b16 = {'patch_size': 16, 'layers': layers, 'out_indices': (0, 0, 0, 0)}
    side = round((len(file[table]) - 1) ** 0.5)
    archived = CLIPVisionTransformer(**vit_b16, input_resolution=16 * side, get_embeddings=True)
    state = {f'visual.{name}': value.half() for name, value in archived.state_dict().items()}
    state = {name: state[name] for name in names}
    state['visual.positional_embedding'][:, :8] = file[table]
    state['visual.conv1.weight'][:8] = file[filters]
    state.update({name: torch.zeros(1) for name in file['nonvisual_keys']})
    with saved(clip=state) as files:

        def built(**settings: Any) -> CLIPVisionTransformer:
            tower = CLIPVisionTransformer(**vit_b16, pretrained=files['clip'], **settings)
            tower.init_weights()
            return tower

        for with_embeddings in (True, False):
            tower = built(get_embeddings=with_embeddings)
            _check_names(file, tower, state, f'_get_embeddings_{with_embeddings}')
        file.compare(EXACT, conv1_weight_first8=tower.conv1.weight[:8])
        for name in (name for name in file if name.startswith('resized_first8_res')):
            resolution = int(name.removeprefix('resized_first8_res'))
            tower = built(input_resolution=resolution, get_embeddings=True)
            file.compare(close, {name: tower.positional_embedding[:, :8]})


def _check_text(cases: Case, state: dict[str, Tensor]) -> None:
    """Parameters of text encoders by their context length, and the lists of their names."""
    for name in cases:
        encoder = name.removesuffix('_keys')
        ours = text_encoder_state(state, int(encoder.rpartition('_')[2]))
        if name.endswith('_keys'):
            cases.compare_as(name, sorted(ours), sorted(cases.wanted(name)))
        else:
            cases.compare_weights(name, ours)


def _check_names(
    case: Case, tower: nn.Module, state: Mapping[str, Tensor], suffix: str = ''
) -> None:
    visual = [name.removeprefix('visual.') for name in state if name.startswith('visual.')]
    ours = unmatched(tower.state_dict(), visual)
    for what, names in zip(('missing', 'unexpected'), ours, strict=True):
        key = f'{what}{suffix}'
        case.compare_as(key, sorted(names), sorted(case.wanted(key)))
