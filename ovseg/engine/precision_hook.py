"""A test in another precision than float32: cast after the weights were loaded."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.engine.checkpoint import unwrap
from ovseg.precision import set_precision
from ovseg.registry import HOOKS


@HOOKS.register_module()
class PrecisionHook(Hook):
    """Casts the products of a segmentor's image encoders before it is tested.

    Args:
        precision: see :func:`~ovseg.precision.set_precision`.
    """

    priority = 'VERY_LOW'  # other hooks may exchange the weights

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def before_test(self, runner: Runner) -> None:
        """See :func:`~ovseg.precision.set_precision`.

        Args:
            runner: whose model has its weights.

        Raises:
            UserError: see there; or a device without the precision.
        """
        set_precision(unwrap(runner.model), self.precision)
