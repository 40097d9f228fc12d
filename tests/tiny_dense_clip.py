"""A tiny DenseCLIP with random weights as a user has one: a config file and a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.registry import MODELS

CLASSES = ('cat', 'red sofa', 'wall')


def write_dense_clip(folder: Path, scale: tuple[int, int] = (64, 64)) -> tuple[Path, Path]:
    """Writes ``tiny.py`` and ``tiny.pth`` and returns their paths.

    Args:
        folder: where to.
        scale: that images are resized to fit into.
    """
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    base = ROOT / 'configs' / '_base_' / 'models' / 'denseclip_fpn_tiny.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f'words = {list(CLASSES)!r}\n'
        'model = dict(\n'
        '    pretrained=None, vocabulary=words,\n'
        '    neck=dict(in_channels=[128, 128 + len(words), 128, 128]))\n'
        f'resize = dict(scale={scale!r}, keep_ratio=True)\n',
        encoding='utf-8',
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('ovseg'):
        model = MODELS.build(Config.fromfile(config).model)
    # Scores of all classes apart, and the image with a say in the words.
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=0.05)
    torch.nn.init.constant_(model.gamma, 0.4)
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    return config, checkpoint
