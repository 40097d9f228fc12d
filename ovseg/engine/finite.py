"""NaN and infinity stay out of weights and checkpoints: bad steps are left out and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from ovseg.engine.distributed import any_process
from ovseg.errors import UserError
from ovseg.registry import HOOKS

# Iterations in a row that mixed precision may leave out; it begins by leaving out some.
_PATIENCE = 100


def what_is_kept(runner: Runner) -> str:
    """What of a training that ends badly is on the disk, as a part of a sentence.

    Args:
        runner: of the training.
    """
    from ovseg.engine.resuming import checkpoint_folder  # which reads this file

    folder = checkpoint_folder(Config({**runner.cfg, 'work_dir': runner.work_dir}))
    if not any(Path(folder).glob('*.pth')):
        return f'no checkpoint was saved yet in {folder}'
    return f'the last checkpoint in {folder} is kept'


def first_non_finite(content: Any, name: str = '') -> str | None:
    """The name of the first tensor that holds NaN or infinity, None if all are finite.

    Args:
        content: tensors in mappings and lists, however deep; anything else counts as finite.
        name: of ``content``; names inside it follow after dots.

    Example:
        >>> first_non_finite({'head': {'bias': torch.tensor([0.0, float('nan')])}})
        'head.bias'
    """
    if isinstance(content, Tensor):
        if name.rpartition('.')[2] == 'attn_mask':
            return None  # of a causal text tower, minus infinity on purpose
        counts = content.is_floating_point() or content.is_complex()
        return name if counts and not bool(torch.isfinite(content).all()) else None
    parts: Iterator[tuple[Any, Any]]
    if isinstance(content, Mapping):
        parts = iter(content.items())
    elif isinstance(content, list | tuple):
        parts = enumerate(content)
    else:
        return None
    for key, part in parts:
        found = first_non_finite(part, f'{name}.{key}' if name else str(key))
        if found is not None:
            return found
    return None


# Of a checkpoint: what a training goes on from.
_OF_A_STATE = ('state_dict', 'ema_state_dict', 'optimizer')


def non_finite_state(checkpoint: Mapping[str, Any]) -> str | None:
    """The name of the first bad tensor in weights, averaged weights and the optimizer's state.

    Args:
        checkpoint: content of one.
    """
    return first_non_finite({part: checkpoint.get(part) for part in _OF_A_STATE})


@HOOKS.register_module()
class FiniteStateHook(Hook):
    """Leaves out steps whose loss or gradients are NaN or infinite, and ends a training of them.

    The weights stay as the last good step left them, so one bad batch does no harm; after
    ``max_bad_steps`` in a row the training ends with exit code 2 and keeps its last checkpoint.
    Running statistics of normalisation layers, which such a batch has changed, are put back. Mixed
    precision finds its own steps too large now and then and lowers its loss scale; those do not
    count, until no step was taken for 100.

    Args:
        max_bad_steps: how many bad steps in a row end the training.

    Raises:
        UserError: the number is not positive.
    """

    # Before the hooks that log and save.
    priority = 'VERY_HIGH'

    def __init__(self, max_bad_steps: int = 3) -> None:
        if max_bad_steps < 1:
            raise UserError(
                f'default_hooks.finite.max_bad_steps is {max_bad_steps}; give a number from 1'
            )
        self.max_bad_steps = max_bad_steps
        self._in_a_row = 0
        self._without_step = 0
        self._gradients_are_bad = False
        self._handles: list[Any] = []
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        """Stops at a state that is bad already; from here on bad gradients take no step."""
        found = first_non_finite(runner.model.state_dict())
        if found is not None:
            raise UserError(
                f"the model starts with NaN or infinite values in '{found}'; check the weights "
                'that the config loads'
            )
        wrapper = runner.optim_wrapper
        each = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._handles = [one.optimizer.register_step_pre_hook(self._before_step) for one in each]
        # A scale of the loss leaves steps out by itself; micro-batches are no steps.
        scaled = [one for one in each if hasattr(one, 'loss_scaler')]
        self._patience = _PATIENCE * max((one._accumulative_counts for one in scaled), default=0)
        self._without_step = 0

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        parameters = [
            parameter
            for group in optimizer.param_groups
            for parameter in group['params']
            if parameter.grad is not None
        ]
        if _are_finite([parameter.grad for parameter in parameters]):
            self._without_step = -1  # after this iteration: 0
            return
        self._gradients_are_bad = True
        for parameter in parameters:
            parameter.grad = None  # optimizers pass over parameters without gradient

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remembers the running statistics."""
        live = _running_statistics(runner.model)
        if [id(one) for one, _ in self._statistics] != [id(one) for one in live]:
            self._statistics = [(one, one.clone()) for one in live]
        for one, kept in self._statistics:
            kept.copy_(one)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Counts the step if it was bad.

        Raises:
            UserError: ``max_bad_steps`` of them followed each other, or mixed precision takes none.
        """
        self._without_step += 1
        if self._patience and any_process(self._without_step >= self._patience):
            raise UserError(
                f'the training diverged: mixed precision found NaN or infinite gradients in all of '
                f'the last {self._without_step} iterations, at iteration {runner.iter + 1}; the '
                f'weights are as before them and {what_is_kept(runner)}; '
                'lower the learning rate, or train without --amp'
            )
        losses = {name: value for name, value in (outputs or {}).items() if 'loss' in name}
        where = first_non_finite(losses)
        if not any_process(self._gradients_are_bad or where is not None):
            self._in_a_row = 0
            return
        for one, kept in self._statistics:
            one.copy_(kept)
        what = f"'{where}' is" if where else 'the gradients are'
        self._gradients_are_bad = False
        self._in_a_row += 1
        step = runner.iter + 1
        if self._in_a_row < self.max_bad_steps:
            runner.logger.warning(
                f'Iteration {step} was left out: {what} NaN or infinite '
                f'({self._in_a_row} in a row, {self.max_bad_steps} end the training).'
            )
            return
        raise UserError(
            f'the training diverged: {what} NaN or infinite at iteration {step}, as in all of '
            f'the last {self._in_a_row}; the weights are as before them and '
            f'{what_is_kept(runner)}; lower the learning rate '
            '(--cfg-options optim_wrapper.optimizer.lr=...), clip gradients '
            '(optim_wrapper.clip_grad), or look at the images of these steps'
        )

    def after_train(self, runner: Runner) -> None:
        """Leaves the optimizers as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _running_statistics(model: nn.Module) -> list[Tensor]:
    """Buffers that normalisation layers change while they train."""
    return [
        buffer
        for module in model.modules()
        if isinstance(module, _NormBase) and module.training and module.track_running_stats
        for buffer in module.buffers(recurse=False)
    ]


def _are_finite(gradients: list[Tensor]) -> bool:
    """Whether all are; one transfer from a device for all of them."""
    if not gradients:
        return True
    dense = [grad.coalesce().values() if grad.is_sparse else grad for grad in gradients]
    # The largest magnitude of each: a sum of squares would overflow where nothing is wrong.
    largest = [grad.abs().max() for grad in dense if grad.numel()]
    by_device: dict[torch.device, list[Tensor]] = {}
    for value in largest:
        by_device.setdefault(value.device, []).append(value.float())
    return all(bool(torch.isfinite(torch.stack(values)).all()) for values in by_device.values())
