"""Every class that a config may name as a part of a model, by the contract that it keeps.

A test of a contract runs over :func:`classes` of its kind, with the constructor settings of a small
table beside it. A class that is registered and has no row there fails :func:`check_table`.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

import ovseg
from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.guides.guide import Guidance
from ovseg.registry import MODELS
from ovseg.segmentors.base import Segmentor

# Height and width in pixels: nothing, a line, no multiple of any patch, one of most.
SIZES = ((1, 1), (1, 37), (33, 17), (32, 48))


def _is_in(*folders: str) -> Callable[[type], bool]:
    return lambda kind: kind.__module__.startswith(folders)


def _has(*names: str) -> Callable[[type], bool]:
    return lambda kind: all(hasattr(kind, name) for name in names)


def _says(kind: type) -> str:
    """The name of what a call returns."""
    call = kind.forward if issubclass(kind, nn.Module) else kind.__call__
    return str(inspect.signature(call).return_annotation)


# The first that fits is the kind of a class.
KINDS: dict[str, Callable[[type], bool]] = {
    'vision-language model': lambda kind: not isinstance(kind, type),  # a function that loads one
    'segmentor': lambda kind: issubclass(kind, Segmentor),
    'dense encoder': _has('pad', 'margins'),
    'companion': _is_in('ovseg.encoders.companions'),
    'mixer': _has('normed'),
    'grid refiner': _has('gives_probabilities', 'needs'),
    'pixel refiner': _has('reach', 'prepare'),
    'region source': _has('regions', 'needs_names'),
    # FC-CLIP's head proposes, too, and keeps the contract of heads.
    'proposal stage': lambda kind: (
        _has('propose')(kind) and not _is_in('ovseg.training.heads')(kind)
    ),
    'mask classifier': _has('look', 'probabilities'),
    'guide': lambda kind: callable(kind) and Guidance.__name__ in _says(kind),
    'text encoder': _is_in('ovseg.encoders.text_context'),
    'trained backbone': lambda kind: (
        _is_in('ovseg.encoders')(kind)
        and (TextAlignedFeatures.__name__ in _says(kind) or 'tuple[Tensor' in _says(kind))
    ),
    'head': _is_in('ovseg.training.heads'),
    'detector': _is_in('ovseg.training.detectors'),
    'training': _is_in('ovseg.scenes', 'ovseg.training'),
}


def kind_of(registered: type) -> str | None:
    """The contract that a class keeps, or None."""
    return next((name for name, fits in KINDS.items() if fits(registered)), None)


@cache
def registered_parts() -> dict[str, type]:
    """All that ovseg registers as models and their parts, in modules that nobody imports, too.

    What other tests register is left out.
    """
    for module in pkgutil.walk_packages(ovseg.__path__, 'ovseg.'):
        # What is made for a tool is a class of that tool's, and registers nothing.
        if not module.name.endswith('__main__') and 'integrations' not in module.name:
            importlib.import_module(module.name)
    parts = MODELS.module_dict.items()
    return {name: part for name, part in parts if part.__module__.startswith('ovseg.')}


def classes(kind: str) -> list[str]:
    """Names of the registered classes of a kind of :data:`KINDS`."""
    return sorted(name for name, part in registered_parts().items() if kind_of(part) == kind)


def check_table(kind: str, names: Collection[str], where: str) -> None:
    """Fails for a registered class without a row, and for a row without a class.

    Args:
        kind: of :data:`KINDS`.
        names: classes that the table has.
        where: the table, for the message.
    """
    for name in sorted(set(classes(kind)) - set(names)):
        raise AssertionError(
            f'{name} is registered and is a {kind}, but {where} does not build it: add a row with '
            'the constructor settings of a tiny one, and it runs through the contract'
        )
    for name in sorted(set(names) - set(classes(kind))):
        raise AssertionError(f'{where} has {name}, which is no registered {kind}: remove the row')


def build(name: str, seed: int = 0, **settings: Any) -> Any:
    """A part of a config, its random weights those of a seed."""
    torch.manual_seed(seed)
    part = MODELS.build({'type': name, '_scope_': 'ovseg', **settings})
    return part.eval() if isinstance(part, nn.Module) else part


def hooks_of(part: Any) -> list[str]:
    """Names of modules with forward hooks; torch has no public way to ask."""
    if not isinstance(part, nn.Module):
        return []
    return [name for name, m in part.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def values_of(part: Any) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers, whether or not they are saved."""
    if not isinstance(part, nn.Module):
        return {}
    return {
        name: value.detach().clone()
        for named in (part.named_parameters(), part.named_buffers())
        for name, value in named
    }


@contextmanager
def unchanged(part: Any) -> Iterator[None]:
    """Fails if the body changes weights, buffers, the training mode or leaves a hook."""
    before, hooks = values_of(part), hooks_of(part)
    modes = [m.training for m in part.modules()] if isinstance(part, nn.Module) else []
    plain = copy.copy(part) if not isinstance(part, nn.Module) else None
    yield
    after = values_of(part)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), f'{name} was changed'
    assert hooks_of(part) == hooks
    if isinstance(part, nn.Module):
        assert [m.training for m in part.modules()] == modes
    else:
        assert vars(plain) == vars(part)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal random numbers of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def half() -> torch.autocast:
    """The precision that segmentors run in on a machine with bfloat16."""
    return torch.autocast('cpu', torch.bfloat16)
