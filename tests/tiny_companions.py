"""Tiny random companions and region maps, for tests of encoders that look at more than CLIP."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

VIT = {'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
SAM = {
    'image_size': 32,
    'patch_size': 8,
    'encoder_embed_dim': 16,
    'encoder_depth': 2,
    'encoder_num_heads': 2,
    'mlp_ratio': 2,
    'global_attn_indexes': [1],
    'window_size': 2,
    'prompt_embed_dim': 16,
    'mask_in_chans': 4,
    'decoder_num_heads': 2,
    'decoder_mlp_dim': 16,
    'iou_head_hidden_dim': 16,
}
DINO = {'type': 'DINOCompanion', 'model': VIT, 'pretrained': 'random'}
COMPANIONS: dict[str, dict[str, Any]] = {
    'dino': DINO,
    'dinov2': {**DINO, 'type': 'DINOv2Companion'},
    'dinov2_reg': {**DINO, 'type': 'DINOv2Companion', 'model': {**VIT, 'reg_tokens': 2}},
    # With two random blocks some patch has hardly any other alike in ProxyCLIP: rounding decides.
    'dinov3': {**DINO, 'type': 'DINOv3Companion', 'model': {**VIT, 'depth': 1}},
    'radio': {**DINO, 'type': 'RADIOCompanion', 'model': {**VIT, 'reg_tokens': 2}},
    'sam': {'type': 'SAMCompanion', 'model': SAM, 'pretrained': 'random'},
}


class Checkerboard:
    """A region source without files: squares of `side` pixels, those on one diagonal unclaimed."""

    needs_names = False

    def __init__(self, side: int = 8) -> None:
        self.side = side
        self.seen: list[tuple[int, ...]] = []

    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        self.seen.append(image.shape)
        rows, columns = (np.arange(size) // self.side for size in image.shape[:2])
        squares = rows[:, None] * 100 + columns + 1
        return np.where(rows[:, None] == columns, 0, squares).astype(np.int64)


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with weights that no initialisation left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.normal_(0, 0.2, generator=generator)
    return module
