"""Choosing a device, and recognising that its memory ran out."""

from __future__ import annotations

import torch

from ovseg.errors import UserError


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for; without one a GPU if there is one, else the CPU.

    Raises:
        UserError: the name means nothing, or this machine has no such device.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"There is no device {device!r}: use 'cpu', 'cuda' or 'cuda:1'.") from error
    if chosen.type == 'cuda':
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise UserError(
                f'The device {device} was asked for, but this machine has '
                f'{count or "no"} GPU{"s" if count != 1 else ""} that torch can use: '
                "use 'cpu' or leave the device out."
            )
    return chosen


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # torch's CPU allocator has no class of its own for it.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        'out of memory' in text or 'allocate memory' in text or 'not enough memory' in text
    )
