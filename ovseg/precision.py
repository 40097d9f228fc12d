"""Models in half, bfloat16 or double precision: what stays in float32 all the same.

Images are float32 until a network takes them in the precision of its weights. Constants such as
pixel statistics, and small parts in which half a digit moves labels, stay as exact as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Statistics of pixels, ours, mmengine's and segment-anything's; they are in no checkpoint.
_CONSTANTS = ('mean', 'std', 'pixel_mean', 'pixel_std')
_MARK = 'keeps_precision'


def keep_precision(part: nn.Module) -> None:
    """Marks a part of a model whose weights stay in float32 where the model is cast."""
    setattr(part, _MARK, True)


@contextmanager
def exact_parts_kept(model: nn.Module) -> Iterator[None]:
    """What is exact in a model moves in here, but keeps its precision: for ``nn.Module._apply``.

    Args:
        model: which the body casts or moves.
    """
    marked = (part for part in model.modules() if getattr(part, _MARK, False))
    whole = {id(inner) for part in marked for inner in part.modules()}
    before = [
        (part, name, value.detach())
        for part in model.modules()
        for values in (part.named_parameters(recurse=False), part.named_buffers(recurse=False))
        for name, value in values
        if value.is_floating_point() and (id(part) in whole or name in _CONSTANTS)
    ]
    yield
    for part, name, kept in before:
        now = getattr(part, name)
        if now.dtype != kept.dtype:
            now.data = kept.to(now.device)


def dtype_of(part: nn.Module) -> torch.dtype:
    """The precision that a network computes in: of its first weight, float32 without any."""
    weights = (value.dtype for value in part.parameters() if value.is_floating_point())
    return next(weights, torch.float32)


def casts(model: nn.Module, fn: object) -> bool:
    """Whether a function of ``nn.Module._apply`` gives weights another precision.

    Args:
        model: to whose weights it will be applied.
        fn: takes a tensor.
    """
    weight = next((value for value in model.parameters() if value.is_floating_point()), None)
    if weight is None or not callable(fn):
        return False
    return bool(fn(weight.detach().new_empty(0)).dtype != weight.dtype)
