"""Tensors inside of other values: nested dataclasses, lists, tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A copy of nested dataclasses, lists, tuples and dicts with a function of each tensor.

    Args:
        value: of which everything else stays what it is.
        function: of a tensor.

    Example:
        >>> map_tensors({'a': [torch.ones(2), 'b']}, lambda tensor: 3 * tensor)
        {'a': [tensor([3., 3.]), 'b']}
    """
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        return replace(value, **{key: map_tensors(one, function) for key, one in parts.items()})
    if isinstance(value, dict):
        return {key: map_tensors(one, function) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(one, function) for one in value)
    return value


def tensor_bytes(value: Any) -> int:
    """What the tensors in nested objects take, each memory once.

    Args:
        value: dataclasses, lists, tuples, dicts and plain objects.

    Example:
        >>> some = torch.ones(2, 3)
        >>> tensor_bytes([some, {'a': some[0]}, 'b'])
        24
    """
    found: dict[int, int] = {}
    seen: set[int] = set()
    left = [value]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            memory = each.untyped_storage()
            found[memory.data_ptr()] = memory.nbytes()
        elif isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list | tuple):
            left += each
        elif is_dataclass(each):
            left += vars(each).values()
    return sum(found.values())
