"""What the tiny models that ship say of a few scenes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from ovseg.apis.building import build_model
from ovseg.config_files import read_config
from ovseg.registry import DATASETS


def scene_predictions(name: str, scenes: int, **settings: Any) -> tuple[Tensor, Tensor]:
    """Predicted and true labels (n, H, W) of the first val scenes.

    Args:
        name: path of a config below ``configs/``, without its ending ``_tiny_scenes.py``.
        scenes: n.
        settings: replace those of the model.
    """
    config = read_config(f'{name}_tiny_scenes.py')
    for key, value in settings.items():
        config.model[key] = value  # update() would merge what is nested
    model = build_model(config).eval()
    with DefaultScope.overwrite_default_scope('ovseg'):
        data = DATASETS.build({**config.test_dataloader.dataset, 'num_scenes': scenes})
    predicted, labelled = [], []
    for sample in data:
        batch = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        (result,) = model.predict(**model.data_preprocessor(batch, False))
        predicted.append(result.pred_sem_seg.data[0])
        labelled.append(result.gt_sem_seg.data[0])
    return torch.stack(predicted), torch.stack(labelled)


def scene_accuracy(name: str, scenes: int, **settings: Any) -> float:
    """Share of the pixels that are right; see :func:`scene_predictions`."""
    predicted, labelled = scene_predictions(name, scenes, **settings)
    return (predicted == labelled).float().mean().item()
