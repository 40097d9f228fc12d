"""Tensors into modules: every key and shape must fit, every value must be a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ovseg.errors import UserError


def check_finite(state: Mapping[str, Tensor], origin: object) -> None:
    """Stops on NaN or infinite weights: they would give masks without meaning, silently.

    Args:
        state: tensors by name.
        origin: where they come from, for the message.

    Raises:
        UserError: names the first such tensor.
    """
    for name, value in state.items():
        if not is_finite(value):
            raise UserError(
                f"weights from {origin} hold NaN or infinite values in '{name}'; the file is "
                'damaged or its training diverged, get it again'
            )


def is_finite(value: Tensor) -> bool:
    """Whether a tensor is free of NaN and infinity."""
    if not (value.is_floating_point() or value.is_complex()):
        return True
    # Numbers of eight bits have no such test.
    return bool(torch.isfinite(value if value.element_size() > 1 else value.float()).all())


def describe_mismatch(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """How two sets of named tensors differ, in words; empty if names and shapes are the same.

    Args:
        own: what a module has.
        given: what a file offers.

    Example:
        >>> describe_mismatch({'a': torch.zeros(2)}, {'b': torch.zeros(2)})
        '1 missing (a); 1 unexpected (b)'
    """
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    shapes = [
        f'{name} is {tuple(given[name].shape)}, wanted {tuple(own[name].shape)}'
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    return '; '.join(
        f'{len(names)} {kind} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'
        for kind, names in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('of another shape', shapes),
        )
        if names
    )


def load_strictly(module: nn.Module, state: dict[str, Tensor], origin: object) -> None:
    """Loads a state dict and stops at any key or shape that does not match.

    Args:
        module: receives the weights.
        state: tensors by name.
        origin: where they come from, for the message.

    Raises:
        UserError: names the first missing, unexpected and misshapen keys.
    """
    problems = describe_mismatch(module.state_dict(), state)
    if problems:
        raise UserError(
            f'weights from {origin} do not fit this model: {problems}; '
            'check that the model name in the config is the one they were made with'
        )
    module.load_state_dict(state, strict=True)


def drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Frozen towers load in the constructor; a checkpoint holds only what was trained."""
    frozen = tuple(prefix + name for name in cast('Sequence[str]', module.frozen_prefixes))
    for key in list(state):
        if key.startswith(frozen):
            del state[key]
