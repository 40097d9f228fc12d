"""Shipped configs with tiny random networks in them, so that they run without weights or data."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from scripts import ROOT, load_script
from tiny_clip_models import RESNET, VIT

from ovseg.config_files import place_of_config, read_config
from ovseg.registry import DATASETS

# The sizes of the configs stay as published, so patches are large: few tokens, quickly attended to.
COARSE_VIT = {**VIT, 'vision_cfg': {**VIT['vision_cfg'], 'image_size': 128, 'patch_size': 32}}


def names_in(method: str) -> list[str]:
    """The configs of a method on each of their data sets: the file's name and that of the data."""
    names = []
    for path in sorted((ROOT / 'configs' / method).glob('*.py')):
        choices = Config.fromfile(path).get('on_choices')
        names += [f'{path.stem}_{on}' for on in choices] if choices else [path.stem]
    return names


@cache
def _read(stem: str) -> Config:
    return read_config(stem)


def config_of(stem: str) -> Config:
    """A shipped config, the caller's own: files are read once, a tenth of a second each."""
    return copy.deepcopy(_read(stem))


def with_tiny_clip(
    stem: str, folder: Path, data: Path, parts: Mapping[str, Any] | None = None, **extra: Any
) -> Path:
    """A config that takes the named one and puts a tiny random CLIP in it, as tools are given it.

    Args:
        stem: of the config, with its data set.
        folder: where the file is written.
        data: the data set's folder.
        parts: other settings of the model that are replaced as a whole.
        extra: other settings of the config.
    """
    replaced = {key: {'_delete_': True, **value} for key, value in (parts or {}).items()}
    architecture = RESNET if '_rn' in stem else COARSE_VIT
    place = place_of_config(stem)
    path = folder / f'{place.path.stem}_tiny.py'
    path.write_text(
        f'_base_ = {str(place.path.resolve())!r}\n'
        f"model = dict(clip=dict(_delete_=True, model={architecture!r}, pretrained='random'),\n"
        "             text=dict(cache_dir=None, templates='single'),\n"
        f'             **{replaced!r})\n'
        f'test_dataloader = dict(num_workers=0, dataset=dict(data_root={str(data)!r}))\n'
        + ''.join(f'{key} = {value!r}\n' for key, value in extra.items()),
        encoding='utf-8',
    )
    return path.with_name(f'{path.stem}_{place.on}.py')


def data_root(name: str, folder: Path) -> Path:
    """Where the miniature of a data set below `folder` has what its config calls data_root."""
    root = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py').data_root
    inside = folder / root.removeprefix('data/')
    return inside if inside.exists() else folder


def run(config: Path, folder: Path) -> dict[str, Any]:
    """What ``tools/test.py`` writes about the config; label maps are saved in ``folder/out``."""
    words = [str(config), '--work-dir', str(folder / 'work'), '--out', str(folder / 'out')]
    assert load_script('test').main(words) == 0
    (path,) = (folder / 'work').rglob('result.json')
    return json.loads(path.read_text(encoding='utf-8'))


def miou_of_files(config: Path, saved: Path) -> float:
    """The mean IoU, in percent, of saved label maps, by counting pixel by pixel with numpy.

    Args:
        config: whose data set has the labels.
        saved: the folder that ``--out`` was given.
    """
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build(read_config(config).test_dataloader.dataset)
    classes = len(data.metainfo['classes'])
    images = data.data_prefix.get('img_path') or ''
    pairs = np.zeros((classes, classes))  # pixels by label and by prediction
    for i in range(len(data)):
        sample = data[i]['data_samples']
        labels = sample.gt_sem_seg.data[0].numpy()
        place = Path(os.path.relpath(sample.img_path, images)).with_suffix('.png')
        with Image.open(saved / place) as image:
            predicted = np.asarray(image).astype(int)
        predicted -= int(sample.get('reduce_zero_label', False))
        counted = labels != data.metainfo.get('ignore_index', 255)
        np.add.at(pairs, (labels[counted], predicted[counted]), 1)
    united = pairs.sum(0) + pairs.sum(1) - pairs.diagonal()
    return 100 * float(np.mean((pairs.diagonal() / united)[united > 0]))
