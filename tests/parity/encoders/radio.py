"""Parity with C-RADIO: features, summaries, and CorrCLIPv2's reading of its maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import RADIOCompanion
from ovseg.encoders.companions import resize_to_patches
from ovseg.regions.sampled_features import SampledFeatures
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import EXACT, Case


def radio_model(config: Case) -> dict[str, Any]:
    """Arguments of timm's vision transformer by the golden file's sizes."""
    prefix = config['num_cls_tokens'] + config['num_registers']
    return {
        'img_size': config['max_img_size'],
        'patch_size': config['patch_size'],
        'embed_dim': config['hidden_size'],
        'depth': config['num_hidden_layers'],
        'num_heads': config['num_attention_heads'],
        'mlp_ratio': config['mlp_ratio'],
        'reg_tokens': prefix - 1,
        'init_values': 1.0 if config['layer_scale'] else None,
    }


@torch.no_grad()
def check_radio(file: Case, folder: Path) -> None:
    """A file as NVIDIA publishes it, as the companion of CorrCLIPv2."""
    file.use('meta')
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('expected')
    with saved(radio=file['state']) as files:
        look = RADIOCompanion(radio_model(config), files['radio'])
    wanted.compare_as('summary_idxs', look.encoder.summary_tokens, config['summary_idxs'])
    for name in ('square', 'wide', 'full'):
        features = look(inputs[name])
        summary = look.encoder.all_tokens(inputs[name], 'tokens')[
            :, list(look.encoder.summary_tokens)
        ]
        wanted.compare(
            of_largest,
            {
                f'{name}_features': features.flatten(2).transpose(1, 2),
                f'{name}_summary': summary.flatten(1),
            },
        )
    pixels = inputs['image_uint8'].permute(2, 0, 1)[None].float() / 255
    size = torch.tensor(resize_to_patches(pixels, look.stride).shape[-2:])
    features = look(pixels)
    wanted.compare(EXACT, companion_input_size=size)
    wanted.compare(of_largest, companion_map=features)
    _check_windows(config, wanted, features)


def _check_windows(config: Case, wanted: Case, features: Tensor) -> None:
    seen = SampledFeatures(features[0], tuple(config['network_size']))
    pairs = zip(config['windows'], config['window_padding'], strict=True)
    for number, (box, (left, right, top, bottom)) in enumerate(pairs):
        y1, x1, y2, x2 = box
        sides = (top + y2 - y1 + bottom, left + x2 - x1 + right)
        grid = tuple(2 * (side // config['clip_patch']) for side in sides)
        window = seen.window(tuple(box), (top, bottom, left, right), grid)
        similar = F.normalize(window, dim=0).flatten(1).T[None]
        wanted.compare(of_largest, {f'window{number}_similarity_features': similar})
