"""Random numbers go on after an interruption where they were."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.registry import HOOKS

_KEY = 'random_state'
# In the main process's states: a list of the others', from the first.
_OTHERS = 'other_processes'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keeps the random states of all processes in checkpoints and restores them on resuming.

    With a data loader without worker processes, or data whose randomness is a function of the
    sample's index, a resumed training then equals an uninterrupted one. Worker processes start
    again from their seeds.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None
        self._others: list[dict[str, Any]] = []
        self._before_validation: dict[str, Any] | None = None

    def gather(self) -> None:
        """Brings the states of all processes to the main one; all must call it before saving."""
        if get_world_size() > 1:
            self._others = all_gather_object(self._states())[1:]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the states, as plain data and tensors."""
        checkpoint[_KEY] = {**self._states(), _OTHERS: self._others}

    def _states(self) -> dict[str, Any]:
        return self._before_validation or _current_states()

    def before_val(self, runner: Runner) -> None:
        """Remembers the states: a training that is resumed here does not validate again."""
        self._before_validation = _current_states()

    def after_val(self, runner: Runner) -> None:
        """Goes on as if there had been no validation, whose loader draws a number, too."""
        if self._before_validation is not None:
            _set_transforms(self._before_validation)
            _set_model(self._before_validation)
        self._before_validation = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remembers this process's states of the checkpoint that is resumed."""
        saved = checkpoint.get(_KEY) if runner._resume else None
        self._resumed = saved
        rank, others = get_rank(), (saved or {}).get(_OTHERS, [])
        if saved is None or not rank:
            return
        self._resumed = others[rank - 1] if rank <= len(others) else None
        if self._resumed is None:
            runner.logger.warning(
                f'The checkpoint holds the random states of {1 + len(others)} processes; process '
                f'{rank} starts with new ones: this training will not equal an uninterrupted one.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Restores what transforms draw from, before the first batch is loaded."""
        self.restore_transforms()

    def restore_transforms(self) -> None:
        """Restores what transforms draw from; nothing after the first step of a training."""
        if self._resumed is not None:
            _set_transforms(self._resumed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restores what the model draws from; making a data loader's iterator draws from it too."""
        if self._resumed is None:
            return
        _set_model(self._resumed)
        self._resumed = None


def _set_transforms(states: Mapping[str, Any]) -> None:
    random.setstate(states['python'])
    name, keys, *rest = states['numpy']
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


def _set_model(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states['torch'].cpu())
    on_devices = states['cuda']
    if on_devices and len(on_devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in on_devices])


def _current_states() -> dict[str, Any]:
    """This process's states."""
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)  # the generator is NumPy's default one, MT19937
    name, keys, position, has_gauss, gauss = state
    return {
        'python': random.getstate(),
        'numpy': (name, keys.tolist(), position, has_gauss, gauss),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
