"""Parity with DINOv3: tokens and projections of its last block."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg.encoders.dinov3 import DINOv3Encoder, load_dinov3
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import Case


def dinov3_model(config: Any) -> dict[str, Any]:
    """Arguments of timm's ``Eva`` by a golden file's sizes.

    Args:
        config: a :class:`~parity.report.Case`, or a plain dict in one.
    """
    width = config['hidden_size']
    return {
        'patch_size': config['patch_size'],
        'embed_dim': width,
        'depth': config['num_hidden_layers'],
        'num_heads': config['num_attention_heads'],
        'num_reg_tokens': config['num_register_tokens'],
        'mlp_ratio': config['intermediate_size'] / width,
        'rope_temperature': config['rope_theta'],
        'norm_layer': partial(nn.LayerNorm, eps=config['layer_norm_eps']),
        **({'swiglu_mlp': True, 'swiglu_align_to': 1} if config.get('use_gated_mlp') else {}),
    }


@torch.no_grad()
def check_dinov3(file: Case, folder: Path) -> None:
    """A file as Meta publishes it; images are normalised already."""
    file.use('meta')
    config, inputs, wanted = file.inner('config'), file.inner('inputs'), file.inner('expected')
    config.use('hidden_act')
    model, registers = dinov3_model(config), config['num_register_tokens']
    with saved(dino=file['state']) as files:
        encoder = DINOv3Encoder(load_dinov3(model, files['dino']))
    for name in ('square', 'wide'):
        image = inputs[name] * encoder.std + encoder.mean
        tokens = encoder.all_tokens(image, 'tokens')
        parts = [encoder.all_tokens(image, part) for part in ('queries', 'keys', 'values')]
        found = {
            f'{name}_cls': tokens[:, 0],
            f'{name}_registers': tokens[:, 1 : 1 + registers],
            f'{name}_patch': encoder(image, 'tokens').flatten(2).transpose(1, 2),
            f'{name}_last_qkv': torch.cat(parts, dim=2),
        }
        wanted.compare(of_largest, found)
