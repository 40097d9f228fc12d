"""Frozen settings from what a config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from ovseg.errors import UserError, nearest


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_Settings = TypeVar('_Settings', bound=_Dataclass)


def read_settings(kind: type[_Settings], config: Mapping[str, Any] | None, where: str) -> _Settings:
    """Returns a dataclass filled with the fields that a config names.

    Args:
        kind: the dataclass.
        config: fields by name, or None for the defaults.
        where: the config's key, for messages.

    Raises:
        UserError: a name that is no field; see also the class's own checks.
    """
    known = [field.name for field in fields(kind)]
    for name in config or {}:
        if name not in known:
            raise UserError(
                f"{where} has no setting '{name}' (known: {', '.join(known)})."
                f'{nearest(name, known)}'
            )
    return kind(**(config or {}))
