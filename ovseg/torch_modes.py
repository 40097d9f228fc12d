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
    default = torch.get_default_dtype()
    with ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.no_grad())
        elif not gradients and torch.is_grad_enabled():
            modes.enter_context(torch.no_grad())
        if torch.get_default_device().type != 'cpu':
            modes.enter_context(torch.device('cpu'))
        if default != torch.float32:
            torch.set_default_dtype(torch.float32)
            modes.callback(torch.set_default_dtype, default)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; parts that were training are set back.

    Args:
        model: whose batch norms and dropouts must not depend on the batch.
    """
    training = [part for part in model.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
