"""The model of CLIP-DINOiser's golden files, loaded from files in the published formats."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.segmentors import CLIPDINOiser, TrainingFreeSegmentor


@contextmanager
def golden_model(
    folder: Path,
    teacher: bool = False,
    guided_by: str | None = None,
    gamma: float | None = None,
    head: dict[str, Tensor] | None = None,
    reads: str = 'mlp_input',
) -> Iterator[TrainingFreeSegmentor]:
    """The model of a golden folder, loaded from files in the published formats.

    Args:
        folder: holds ``weights.pt`` and, for teachers, ``teachers.pt``.
        teacher: with teachers beside the trained guide.
        guided_by: instead of the trained guide, the teachers with this projection of DINO.
        gamma: instead of that of the file.
        head: instead of the file's two layers.
        reads: what the two layers read.
    """
    content = torch.load(folder / 'weights.pt', map_location='cpu', weights_only=True)
    config = content['config']
    gamma = config['gamma'] if gamma is None else gamma
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        state = dict(content['clip_state_dict'])
        rows = content['token_embedding_rows']
        # Rows of tokens that the prompts do not use are not in the file and never read.
        state['token_embedding.weight'] = torch.zeros(49408, rows.shape[1])
        state['token_embedding.weight'][content['token_embedding_ids'].long()] = rows
        torch.save(state, place / 'clip.pt')
        torch.save(content['class_embeddings'], place / 'text.pth')
        checkpoint = {'epoch': 99, 'model_state_dict': head} if head else content['checkpoint']
        torch.save(checkpoint, place / 'last.pt')
        settings: dict[str, Any] = {
            'clip': {'model': _open_clip_config(config), 'pretrained': str(place / 'clip.pt')},
            'encoder': {
                'last_block': 'maskclip',
                'position_resize': 'always',
                'padding': 'black',
                'mlp_input_layer': config['feats_idx'],
            },
            'vocabulary': {
                'classes': [{'name': n, 'prompts': [n]} for n in config['classes']],
                'rejection': {'kind': 'class_zero'},
            },
            'text': {'embeddings': str(place / 'text.pth'), 'cache_dir': None},
            'refiners': [{'type': 'ScoreSoftmax'}],
        }
        teachers = None
        if teacher or guided_by:
            quantity = guided_by or 'values'
            teachers = _teacher_config(folder, place, quantity, gamma)
        if guided_by:
            yield TrainingFreeSegmentor(**settings, guide=teachers)
            return
        width = config['embed_dim'] if reads == 'patch' else config['width']
        guide = {
            'type': 'DINOiserGuide',
            'in_channels': width,
            'channels': config['in_dim'],
            'reads': reads,
            'gamma': gamma,
        }
        model = CLIPDINOiser(**settings, guide=guide, teacher=teachers)
        load_checkpoint_strict(model, place / 'last.pt')
        yield model


def _teacher_config(folder: Path, place: Path, quantity: str, gamma: float) -> dict[str, Any]:
    content = torch.load(folder / 'teachers.pt', map_location='cpu', weights_only=True)
    torch.save(content['dino_state_dict'], place / 'dino.pth')
    torch.save(content['found_vit_state_dict'], place / 'found_dino.pth')
    torch.save({'decoder': content['found_decoder']}, place / 'decoder.pt')
    return {
        'type': 'DINOTeacher',
        'dino': _dino_config(content['config']['dino'], place / 'dino.pth'),
        'found': {
            'dino': _dino_config(content['config']['found'], place / 'found_dino.pth'),
            'decoder': str(place / 'decoder.pt'),
        },
        'quantity': quantity,
        'gamma': gamma,
    }


def _dino_config(config: dict[str, int], path: Path) -> dict[str, Any]:
    sizes = {key: config[key] for key in ('embed_dim', 'depth', 'img_size', 'patch_size')}
    return {'model': {**sizes, 'num_heads': config['heads']}, 'pretrained': str(path)}


def _open_clip_config(config: dict[str, Any]) -> dict[str, Any]:
    vision = {key: config[key] for key in ('image_size', 'patch_size', 'width', 'layers')}
    text = {key: config[f'text_{key}'] for key in ('width', 'heads', 'layers')}
    return {
        'embed_dim': config['embed_dim'],
        'vision_cfg': {**vision, 'head_width': config['width'] // config['heads']},
        'text_cfg': {'context_length': 77, 'vocab_size': 49408, **text},
        'quick_gelu': config['quick_gelu'],
    }
