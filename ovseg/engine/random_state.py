"""Random numbers go on after an interruption where they were."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.registry import HOOKS

_KEY = 'random_state'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keeps the main process's random states in checkpoints and restores them on resuming.

    With a data loader without worker processes, or data whose randomness is a function of the
    sample's index, a resumed training then equals an uninterrupted one. Worker processes start
    again from their seeds.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the states, as plain data and tensors."""
        state = np.random.get_state(legacy=True)
        assert isinstance(state, tuple)  # the generator is NumPy's default one, MT19937
        name, keys, position, has_gauss, gauss = state
        checkpoint[_KEY] = {
            'python': random.getstate(),
            'numpy': (name, keys.tolist(), position, has_gauss, gauss),
            'torch': torch.get_rng_state(),
            'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remembers the states of the checkpoint that is resumed."""
        self._resumed = checkpoint.get(_KEY) if runner._resume else None

    def before_train_epoch(self, runner: Runner) -> None:
        """Restores what transforms draw from, before the first batch is loaded."""
        if self._resumed is not None:
            random.setstate(self._resumed['python'])
            name, keys, *rest = self._resumed['numpy']
            np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restores what the model draws from; making a data loader's iterator draws from it too."""
        if self._resumed is None:
            return
        torch.set_rng_state(self._resumed['torch'].cpu())
        states = self._resumed['cuda']
        if states and len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in states])
        self._resumed = None
