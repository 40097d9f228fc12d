"""Optimizers for models that are mostly frozen."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ovseg.errors import UserError
from ovseg.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableParamsConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor for models of which only parts train.

    Frozen parts are left out without a line of warning for each of their parameters.
    ``paramwise_cfg`` works as in mmengine; every name in its ``custom_keys`` must match something
    that trains, where mmengine would silently go on with the common learning rate.
    """

    paramwise_cfg: dict[str, Any] | None

    def add_params(self, params: list[dict], module: nn.Module, *args: Any, **kwargs: Any) -> None:
        """Adds the groups of a module; see mmengine."""
        if any(param.requires_grad for param in module.parameters()):
            super().add_params(params, module, *args, **kwargs)

    def __call__(self, model: nn.Module) -> Any:
        """Builds the wrapper.

        Args:
            model: the model, wrapped or not.

        Raises:
            UserError: nothing trains, or a custom key names nothing that does.
        """
        names = [name for name, param in model.named_parameters() if param.requires_grad]
        if not names:
            raise UserError(f'{type(model).__name__} has no parameter that trains')
        self.paramwise_cfg = self.paramwise_cfg or {'custom_keys': {}}
        for key in self.paramwise_cfg.get('custom_keys', {}):
            if not any(key in name for name in names):
                raise UserError(
                    f"optim_wrapper.paramwise_cfg.custom_keys names '{key}', but no trainable "
                    f'parameter has it in its name (there are {", ".join(names[:6])})'
                )
        return super().__call__(model)
