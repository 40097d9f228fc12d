"""A test with compiled encoders: after the weights were loaded and cast."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovseg.compiled import compile_encoders
from ovseg.engine.checkpoint import unwrap
from ovseg.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles a segmentor's image encoders before it is tested."""

    priority = 'LOWEST'  # the precision is set before

    def before_test(self, runner: Runner) -> None:
        """See :func:`~ovseg.compiled.compile_encoders`.

        Args:
            runner: whose model has its weights.

        Raises:
            UserError: see there.
        """
        compile_encoders(unwrap(runner.model))
