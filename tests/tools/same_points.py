"""Points of a mask that are the same in every process: mmdet draws them at random."""

from __future__ import annotations

from unittest.mock import patch

import torch
from mmengine.hooks import Hook

from ovseg.registry import HOOKS

# Steps of a lattice whose points fill a square evenly.
_STEPS = torch.tensor([0.7548776662, 0.5698402910])


def lattice(*size, device=None):
    """What stands for ``torch.rand`` where (n, points, 2) are asked for."""
    count, points, _ = size[0] if len(size) == 1 else size
    numbers = torch.arange(1, points + 1, dtype=torch.float64)[:, None]
    return (numbers * _STEPS % 1).float().to(device).expand(count, points, 2).clone()


@HOOKS.register_module()
class SamePointsHook(Hook):
    """Draws no point at random while a training runs."""

    def before_train(self, runner):
        self._patch = patch.object(torch, 'rand', lattice)
        self._patch.start()

    def after_train(self, runner):
        self._patch.stop()
