"""Open_clip's learning rate: linear warm-up in steps, then a cosine to the training's end."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim.scheduler import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ovseg.errors import UserError
from ovseg.registry import PARAM_SCHEDULERS


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Returns the share of the base learning rate at a step.

    Args:
        step: counted from 0.
        warmup: steps until the share is 1.
        steps: of the whole training; the share would be 0 at this step.

    Source: OVSeg, open_clip_training/src/training/scheduler.py.

    Example:
        >>> [warmup_cosine(step, 2, 6) for step in (0, 1, 2, 4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Sets the learning rate of each step to ``base * warmup_cosine(step, warmup, end)``.

    Warm-up is in steps, the training in rounds: with ``by_epoch=True`` and
    ``convert_to_iter_based=True``, `end` counts rounds over the data, however many steps a round
    has, and `warmup` still counts steps.

    Args:
        optimizer: given by the Runner.
        warmup: steps.
        end: of the whole training.
        by_epoch: must be False once it is built; see above.
        kwargs: as in mmengine.

    Raises:
        UserError: by rounds without conversion, or a warm-up that is not shorter than the training.
    """

    def __init__(
        self, optimizer: Any, *, warmup: int, end: int, by_epoch: bool = False, **kwargs: Any
    ) -> None:
        if by_epoch:
            raise UserError(
                'param_scheduler WarmupCosineLR changes each step; set '
                'convert_to_iter_based=True beside by_epoch=True'
            )
        if not 0 <= warmup < end:
            raise UserError(
                f'param_scheduler WarmupCosineLR: warmup={warmup} steps must be fewer than the '
                f'{end} steps of the training; shorten it'
            )
        self.warmup = warmup
        super().__init__(optimizer, end=end, by_epoch=False, **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, end: int, by_epoch: bool = True, epoch_length: int, **kwargs: Any
    ) -> WarmupCosineLR:
        """Builds it with `end` in rounds; mmengine calls this.

        Args:
            args: as in the constructor.
            end: rounds over the data.
            by_epoch: True.
            epoch_length: steps of a round.
            kwargs: as in the constructor.
        """
        return cls(*args, end=end * epoch_length, **kwargs)

    def _get_value(self) -> list[float]:
        share = warmup_cosine(self.last_step, self.warmup, self.end)
        return [base * share for base in self.base_values]
