"""torch as a model is built and asked in, whatever modes the caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def plain_torch(gradients: bool = False) -> Iterator[None]:
    """Plain tensors of float32 on the CPU where nothing else is said, with autocast as it was.

    What is made in here is no inference tensor, which nothing could train with later, and no
    default of the caller's decides where it lies and how exact it is. Under plain settings the
    context does next to nothing. The default precision, which all threads share, is set back.

    Args:
        gradients: whether they may be recorded, as the caller has it.
    """
    with ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.no_grad())
        elif not gradients and torch.is_grad_enabled():
            modes.enter_context(torch.no_grad())
        _set_defaults(modes)
        yield


@contextmanager
def quick_torch() -> Iterator[None]:
    """As :func:`plain_torch`, but in inference mode: for what ends in labels.

    Without a record for gradients each operation is cheaper: for a tiny model, whose operations
    are short, a tenth of the time.
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode())
        _set_defaults(modes)
        yield


def _set_defaults(modes: ExitStack) -> None:
    if torch.get_default_device().type != 'cpu':
        modes.enter_context(torch.device('cpu'))
    default = torch.get_default_dtype()
    if default != torch.float32:
        torch.set_default_dtype(torch.float32)
        modes.callback(torch.set_default_dtype, default)


def parts_below(model: nn.Module) -> Iterator[nn.Module]:
    """A model and all its parts; one in two places comes twice. Quicker than ``modules()``.

    Args:
        model: where to begin.
    """
    waiting: list[nn.Module | None] = [model]
    while waiting:
        part = waiting.pop()
        if part is not None:
            yield part
            waiting.extend(part._modules.values())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; parts that were training are set back.

    Args:
        model: whose batch norms and dropouts must not depend on the batch.
    """
    training = [part for part in parts_below(model) if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
