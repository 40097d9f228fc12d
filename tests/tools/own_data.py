"""A folder of labelled pictures as users have it, and the config of a method of ours on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scripts import ROOT


def write_pictures(root: Path, pictures: Sequence[np.ndarray], classes: int) -> Path:
    """Writes pictures (H, W, 3) uint8 RGB, each with a label map of all classes from left on."""
    for part in ('images', 'labels'):
        (root / part).mkdir(parents=True)
    for index, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        labels = np.arange(height * width).reshape(height, width) % classes
        Image.fromarray(picture).save(root / 'images' / f'{index}.png')
        Image.fromarray(labels.astype(np.uint8)).save(root / 'labels' / f'{index}.png')
    return root


def write_own_config(
    path: Path, base: str, data: Path, names: Sequence[str], more: str = ''
) -> Path:
    """Writes a config that tests a method, a file below ``configs/``, on such a folder."""
    path.write_text(
        f"""_base_ = {str(ROOT / 'configs' / base)!r}
names = {list(names)!r}
work_dir = {str(path.with_suffix('')) + '_work'!r}
test_dataloader = dict(
    _delete_=True, batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='LabelledFolderDataset', data_root={str(data)!r}, metainfo=dict(classes=names),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadSegLabels'),
                  dict(type='PackSegInputs')]))
test_evaluator = dict(_delete_=True, type='OVIoUMetric')
{more}
""",
        encoding='utf-8',
    )
    return path
