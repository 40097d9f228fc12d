"""The models of Trident's golden files, through the loaders of published files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ovseg.encoders.clip import build_architecture
from ovseg.segmentors.trident import Trident
from parity.golden import as_float, read, saved
from parity.training_free_attention.pipelines import PREPROCESSOR

_HALVED = 'CityscapesDataset'


@contextmanager
def clip_file(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of ``load_clip`` for a golden CLIP as published.

    A text tower that the golden file leaves out becomes a random one: queries are given then.
    """
    golden = content['config']
    config = {
        'embed_dim': golden['embed_dim'],
        'vision_cfg': golden['vision'],
        'quick_gelu': golden['quick_gelu'],
        'text_cfg': golden['text'],
    }
    state = as_float(content['state_dict'])
    if not golden['has_text_tower']:
        random = build_architecture(config).state_dict()
        state = {k: v for k, v in random.items() if not k.startswith('visual.')} | state
    with saved(clip=state) as files:
        yield {'model': config, 'pretrained': files['clip']}


@contextmanager
def golden_trident(folder: Path, config: Mapping[str, Any], megabytes: float) -> Iterator[Trident]:
    """The model of a case, without vocabulary and without refinement's settings."""
    dino, sam = (read(folder / config[f'weights_{name}']) for name in ('dino', 'sam'))
    with (
        clip_file(read(folder / config['weights_clip'])) as clip,
        saved(dino=dino['state_dict'], sam=sam['state_dict']) as files,
    ):
        yield Trident(
            clip=clip,
            companion={
                'type': 'DINOCompanion',
                'model': dino['config'],
                'pretrained': files['dino'],
            },
            sam={'model': sam['config'], 'pretrained': files['sam'], 'block_megabytes': megabytes},
            proxy={'beta': config['beta'], 'gamma': config['gamma']},
            correlation={
                'cosine_factor': config['cos_fac'],
                'keep_negative_thresholds': config['refine_neg_cos'],
            },
            sam_columns=2 if config['dataset_type'] == _HALVED else 1,
            refinement=refinement_settings(config) if config['sam_refinement'] else None,
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


def refinement_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :class:`~ovseg.refiners.sam_prompts.SAMPrompts` that a case states."""
    return {
        'coarse_threshold': config['coarse_thresh'],
        'min_area': config['minimal_area'],
        'mask_scale': config['sam_mask_coff'],
        'iou_threshold': config['sam_iou_thresh'],
    }


def spatial(tensor: Tensor, step: int) -> Tensor:
    """Every ``step``-th element along the last two axes, as the golden files keep large maps."""
    return tensor[..., ::step, ::step]
