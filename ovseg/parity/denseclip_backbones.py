"""Parity with DenseCLIP's backbones: their outputs, and how they start from CLIP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.encoders import CLIPResNet, CLIPResNetWithAttention, CLIPVisionTransformer
from ovseg.encoders.clip_initialisation import (
    clip_state,
    text_encoder_state,
    unmatched,
)
from ovseg.encoders.text_aligned import TextAlignedFeatures
from ovseg.parity.report import EXACT, Report, Tolerance
from ovseg.registry import MODELS
from ovseg.weight_files import load_strictly

# Of the one-block archive whose table and filters the golden file has the first channels of.
_VIT_B16 = {'patch_size': 16, 'layers': 1, 'out_indices': (0, 0, 0, 0)}


@torch.inference_mode()
def check_backbones(report: Report, folder: Path) -> None:
    """Levels of the plain ResNet and of the ViTs without a text space."""
    for name, case in report.content.items():
        report.use(*(f'{name}.{key}' for key in ('type', 'config', 'state_dict', 'img')))
        backbone = MODELS.build({'type': case['type'], '_scope_': 'ovseg', **case['config']}).eval()
        load_strictly(backbone, case['state_dict'], name)
        levels = backbone(case['img'])
        report.compare(f'{name}.outs', len(levels), len(case['outs']), EXACT)
        for key, theirs in case['outs'].items():
            ours = levels[int(key.removeprefix('level'))]
            report.compare(f'{name}.outs.{key}', ours, theirs, features(theirs))


@torch.inference_mode()
def check_detection_pool(report: Report, folder: Path) -> None:
    """The attention pool with a cropped position table, and its map as a level."""
    content = report.content
    report.use('config', 'state_dict')
    settings = {**content['config'], 'position': 'crop'}
    for index, case in enumerate(content['cases']):
        report.use(f'cases.{index}.img')
        backbone = CLIPResNetWithAttention(**settings).eval()
        load_strictly(backbone, content['state_dict'], 'state_dict')
        _check_text_aligned(report, f'cases.{index}', case, backbone(case['img']))
    with_embeddings = CLIPResNetWithAttention(**settings, att_level3=True).eval()
    found = with_embeddings(content['cases'][-1]['img'])
    shapes: list[Any] = [list(level.shape) for level in found.levels]
    shapes.append([list(found.global_embedding.shape), list(found.dense_embedding.shape)])
    report.compare('att_level3_shapes', shapes, content['att_level3_shapes'], EXACT)


@torch.inference_mode()
def check_resnet_mapping(report: Report, folder: Path) -> None:
    """A CLIP archive in the text tower and in the ResNets with and without attention pool."""
    content, config = report.content, report.content['config']
    report.use('clip_state_dict', 'config', 'note')
    sizes = {'layers': config['layers'], 'width': config['width']}
    with _archive(content['clip_state_dict']) as path:
        _check_text(report, content['text'], clip_state(path, keep=False))
        for name in (name for name in content if name.startswith('attn_res')):
            resolution = content[name]['input_resolution']
            report.use(f'{name}.input_resolution')
            backbone = CLIPResNetWithAttention(
                output_dim=config['embed_dim'],
                input_resolution=resolution,
                pretrained=path,
                **sizes,
            )
            backbone.init_weights()
            table, theirs = 'attnpool_positional_embedding', content[name]
            ours = backbone.attnpool.positional_embedding
            report.compare(f'{name}.{table}', ours, theirs[table], features(theirs[table]))
            _check_names(report, name, theirs, backbone, content['clip_state_dict'])
            forward = f'forward_{name}'
            if forward in content:
                report.use(f'{forward}.img')
                found = backbone.eval()(content[forward]['img'])
                _check_text_aligned(report, forward, content[forward], found)
        plain = CLIPResNet(**sizes, pretrained=path)
        plain.init_weights()
        _check_names(report, 'plain', content['plain'], plain, content['clip_state_dict'])


@torch.inference_mode()
def check_vit_mapping(report: Report, folder: Path) -> None:
    """A CLIP archive in the ViT: resized position tables, names left over and names missing."""
    content = report.content
    source, filters = 'source_positional_embedding_first8', 'source_conv1_weight_first8'
    report.use('visual_keys', 'nonvisual_keys', source, filters)
    side = round((len(content[source]) - 1) ** 0.5)
    archived = CLIPVisionTransformer(**_VIT_B16, input_resolution=16 * side, get_embeddings=True)
    state = {f'visual.{name}': value.half() for name, value in archived.state_dict().items()}
    state = {name: state[name] for name in content['visual_keys']}
    state['visual.positional_embedding'][:, :8] = content[source]
    state['visual.conv1.weight'][:8] = content[filters]
    state.update({name: torch.zeros(1) for name in content['nonvisual_keys']})
    with _archive(state) as path:
        for with_embeddings in (True, False):
            tower = CLIPVisionTransformer(
                **_VIT_B16, pretrained=path, get_embeddings=with_embeddings
            )
            tower.init_weights()
            missing, unexpected = _names(tower, state)
            for what, ours in (('missing', missing), ('unexpected', unexpected)):
                name = f'{what}_get_embeddings_{with_embeddings}'
                report.compare(name, sorted(ours), sorted(content[name]), EXACT)
        theirs = content['conv1_weight_first8']
        report.compare('conv1_weight_first8', tower.conv1.weight[:8], theirs, EXACT)
        for name in (name for name in content if name.startswith('resized_first8_res')):
            resolution = int(name.removeprefix('resized_first8_res'))
            tower = CLIPVisionTransformer(
                **_VIT_B16, input_resolution=resolution, pretrained=path, get_embeddings=True
            )
            tower.init_weights()
            ours, theirs = tower.positional_embedding[:, :8], content[name]
            report.compare(name, ours, theirs, features(theirs))


def features(theirs: Tensor) -> Tolerance:
    """What DenseCLIP's golden files allow a tensor.

    Args:
        theirs: the reference.
    """
    return Tolerance(atol=1e-5 * float(theirs.abs().max()), rtol=1e-4)


def _check_text_aligned(
    report: Report, name: str, case: Mapping[str, Tensor], found: TextAlignedFeatures
) -> None:
    ours = {
        'level3': found.levels[3],
        'global_feat': found.global_embedding,
        'visual_embeddings': found.dense_embedding,
    }
    for key, value in ours.items():
        report.compare(f'{name}.{key}', value, case[key], features(case[key]))


def _check_text(report: Report, cases: Mapping[str, Any], state: dict[str, Tensor]) -> None:
    """Parameters of text encoders by their context length, and the lists of their names."""
    for name, theirs in cases.items():
        encoder = name.removesuffix('_keys')
        ours = text_encoder_state(state, int(encoder.rpartition('_')[2]))
        if name.endswith('_keys'):
            report.compare(f'text.{name}', sorted(ours), sorted(theirs), EXACT)
            continue
        for key, value in theirs.items():
            report.compare(f'text.{name}.{key}', ours[key], value, EXACT)


def _check_names(
    report: Report,
    name: str,
    theirs: Mapping[str, Any],
    tower: nn.Module,
    state: Mapping[str, Tensor],
) -> None:
    for what, ours in zip(('missing', 'unexpected'), _names(tower, state), strict=True):
        report.compare(f'{name}.{what}', sorted(ours), sorted(theirs[what]), EXACT)


def _names(tower: nn.Module, state: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    visual = [name.removeprefix('visual.') for name in state if name.startswith('visual.')]
    return unmatched(tower.state_dict(), visual)


@contextmanager
def _archive(state: dict[str, Tensor]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'clip.pt'
        torch.save(state, path)
        yield str(path)
