"""The model of CLIP-DINOiser's golden files, loaded from files in the published formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ovseg.engine.checkpoint import load_checkpoint_strict
from ovseg.segmentors import CLIPDINOiser, TrainingFreeSegmentor
from parity.golden import clip_config, read, saved, token_table


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

    With `guided_by`, a projection of DINO, the teachers stand in place of the trained guide, whose
    two layers are `head` where the file's are not wanted and read what `reads` says.
    """
    content = read(folder / 'weights.pt')
    config = content['config']
    gamma = config['gamma'] if gamma is None else gamma
    table = token_table(content['token_embedding_ids'], content['token_embedding_rows'])
    files = {
        'clip': {**content['clip_state_dict'], 'token_embedding.weight': table},
        'text': content['class_embeddings'],
        'last': {'epoch': 99, 'model_state_dict': head} if head else content['checkpoint'],
    }
    teachers: dict[str, Any] = {}
    if teacher or guided_by:
        teachers = read(folder / 'teachers.pt')
        files |= {
            'dino': teachers['dino_state_dict'],
            'found': teachers['found_vit_state_dict'],
            'decoder': {'decoder': teachers['found_decoder']},
        }
    with saved(**files) as paths:
        settings: dict[str, Any] = {
            'clip': {'model': clip_config(config), 'pretrained': paths['clip']},
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
            'text': {'embeddings': paths['text'], 'cache_dir': None},
            'refiners': [{'type': 'ScoreSoftmax'}],
        }
        taught = teachers and _teacher_config(teachers['config'], paths, guided_by, gamma)
        if guided_by:
            yield TrainingFreeSegmentor(**settings, guide=taught)
            return
        guide = {
            'type': 'DINOiserGuide',
            'in_channels': config['embed_dim'] if reads == 'patch' else config['width'],
            'channels': config['in_dim'],
            'reads': reads,
            'gamma': gamma,
        }
        model = CLIPDINOiser(**settings, guide=guide, teacher=taught or None)
        load_checkpoint_strict(model, Path(paths['last']))
        yield model


def _teacher_config(
    config: dict[str, Any], paths: dict[str, str], quantity: str | None, gamma: float
) -> dict[str, Any]:
    dino, found = (_dino_config(config[name], paths[name]) for name in ('dino', 'found'))
    return {
        'type': 'DINOTeacher',
        'dino': dino,
        'found': {'dino': found, 'decoder': paths['decoder']},
        'quantity': quantity or 'values',
        'gamma': gamma,
    }


def _dino_config(config: dict[str, int], path: str) -> dict[str, Any]:
    sizes = {key: config[key] for key in ('embed_dim', 'depth', 'img_size', 'patch_size')}
    return {'model': {**sizes, 'num_heads': config['heads']}, 'pretrained': path}
