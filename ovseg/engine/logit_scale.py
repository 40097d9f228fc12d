"""Keeps the temperature of a contrastive training in bounds."""

from __future__ import annotations

from typing import Any, Protocol, cast

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.engine.checkpoint import unwrap
from ovseg.registry import HOOKS


class _HasLogitScale(Protocol):
    def clamp_logit_scale(self) -> None: ...


@HOOKS.register_module()
class LogitScaleHook(Hook):
    """Calls the model's ``clamp_logit_scale()`` after each step, before checkpoints are written."""

    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Clamps."""
        cast('_HasLogitScale', unwrap(runner.model)).clamp_logit_scale()
