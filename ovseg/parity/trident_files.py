"""The models of Trident's golden files, through the loaders of published files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.encoders.clip import build_architecture
from ovseg.parity.attention_cases import PREPROCESSOR
from ovseg.segmentors.trident import Trident

_HALVED = 'CityscapesDataset'


def read_golden(path: Path) -> dict[str, Any]:
    """Content of a golden file."""
    return torch.load(path, map_location='cpu', weights_only=True)


def clip_config(golden: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's model config of a golden CLIP.

    Args:
        golden: its ``config``.
    """
    return {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': golden['vision'],
        'quick_gelu': golden['quick_gelu'],
        'text_cfg': golden['text'],
    }


def save_clip(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Writes a CLIP file as published and returns its model config.

    A text tower that the golden file leaves out becomes a random one: queries are given then.

    Args:
        content: a ``weights_clip_*.pt``.
        path: where to.
    """
    config = clip_config(content['config'])
    state = {name: value.float() for name, value in content['state_dict'].items()}
    if not content['config']['has_text_tower']:
        random = build_architecture(config).state_dict()
        state = {k: v for k, v in random.items() if not k.startswith('visual.')} | state
    torch.save(state, path)
    return config


@contextmanager
def golden_trident(folder: Path, config: Mapping[str, Any], megabytes: float) -> Iterator[Trident]:
    """The model of a case, without vocabulary and without refinement's settings.

    Args:
        folder: holds the weights that the case names.
        config: of the case.
        megabytes: for a block of SAM's attention.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        parts = {}
        for name, part in (('dino', 'companion'), ('sam', 'sam')):
            content = read_golden(folder / config[f'weights_{name}'])
            torch.save(content['state_dict'], place / f'{part}.pth')
            parts[part] = {
                'model': content['config'],
                'pretrained': str(place / f'{part}.pth'),
            }
        parts['companion']['type'] = 'DINOCompanion'
        parts['sam']['block_megabytes'] = megabytes
        clip = save_clip(read_golden(folder / config['weights_clip']), place / 'clip.pt')
        refinement = {
            'coarse_threshold': config['coarse_thresh'],
            'min_area': config['minimal_area'],
            'mask_scale': config['sam_mask_coff'],
            'iou_threshold': config['sam_iou_thresh'],
        }
        yield Trident(
            clip={'model': clip, 'pretrained': str(place / 'clip.pt')},
            **parts,
            proxy={'beta': config['beta'], 'gamma': config['gamma']},
            correlation={
                'cosine_factor': config['cos_fac'],
                'keep_negative_thresholds': config['refine_neg_cos'],
            },
            sam_columns=2 if config['dataset_type'] == _HALVED else 1,
            refinement=refinement if config['sam_refinement'] else None,
            encoder={'position_resize': 'scale_factor'},
            text={'cache_dir': None},
            test_cfg={
                'mode': 'splice',
                'crop_size': config['slide_crop'],
                'stride': config['slide_stride'],
                'window_batch': 4,  # fewer than the windows of a case
                'upsampling': 'direct',
            },
            data_preprocessor=PREPROCESSOR,
        ).eval()


def spatial(tensor: Tensor, step: int) -> Tensor:
    """Every ``step``-th element along the last two axes, as the golden files keep large maps."""
    return tensor[..., ::step, ::step]
