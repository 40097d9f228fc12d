"""Networks built for the weights of a file: no random start is drawn that the file replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# What fills weights number by number. erfinv_ is the slow half of a truncated normal distribution.
_FILLING: set[Callable[..., Any]] = {
    *(torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_),
    *(nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_),
    *(nn.init.kaiming_normal_, nn.init.kaiming_uniform_),
    *(nn.init.xavier_normal_, nn.init.xavier_uniform_),
}
_DRAWING: set[Callable[..., Any]] = {torch.randn, torch.rand}


class Unfilled(TorchFunctionMode):
    """A context in which modules are built whose weights are read from a file right after.

    To draw the random weights of a ViT-L takes seconds. Weights hold whatever the memory held, so
    all of them must come from the file: :func:`~ovseg.weight_files.load_strictly` sees to it. The
    random numbers that follow are those that would follow without the network. Other threads draw
    as ever.

    Example:
        >>> state = torch.get_rng_state()
        >>> with Unfilled():
        ...     layer = torch.nn.Linear(3, 2)
        >>> torch.equal(torch.get_rng_state(), state)
        True
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leaves a tensor as memory has it where `func` would draw its numbers."""
        told = dict(kwargs or {})
        if func in _FILLING:
            return args[0] if args else told['tensor']
        if func in _DRAWING:
            told.pop('generator', None)
            return torch.empty(*args, **told)
        return func(*args, **told)
