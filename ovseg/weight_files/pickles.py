"""What an unpickler that calls nothing of the file's choosing must still be kept from."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Container
from typing import IO

_NUMBERING = ('PUT', 'BINPUT', 'LONG_BINPUT')


def check_operations(data: bytes | IO[bytes], allowed: Container[str] | None = None) -> None:
    """Stops at what could only be meant ill, such as a place number that fills the memory.

    Args:
        data: a pickle; it is looked through, not executed.
        allowed: names of operations; None for all.

    Raises:
        pickle.UnpicklingError: says which.
        ValueError: damaged.
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if allowed is not None and operation.name not in allowed:
            raise pickle.UnpicklingError(f'it asks for the operation {operation.name}')
        if operation.name in _NUMBERING and (argument is None or argument > count):
            raise pickle.UnpicklingError('it numbers its objects as no writer does')
