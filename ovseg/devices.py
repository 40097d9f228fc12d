"""The devices that this machine has, and recognising that the memory of one ran out."""

from __future__ import annotations

import torch

from ovseg.errors import UserError, nearest

# What torch calls accelerators; those behind a package of their own are there once it is imported.
_ACCELERATORS = ('cuda', 'mps', 'xpu', 'npu', 'mlu', 'musa', 'hpu', 'sdaa')
# Taken where no device is named, in this order.
_BY_ITSELF = ('cuda', 'xpu', 'mps')


def choose_device(device: str | torch.device | int | None = None) -> torch.device:
    """The device asked for.

    Args:
        device: as torch takes it; None or ``'auto'`` for torch's default device where that was set
            (``torch.set_default_device``), else for the first there is of a CUDA GPU, an Intel GPU
            (XPU) and Apple's (MPS), else the CPU.

    Raises:
        UserError: the name means nothing, or this machine has no such device; names those present.
    """
    if device is None or device == 'auto':
        default = torch.get_default_device()
        there = [kind for kind in _BY_ITSELF if _count(kind)]
        device = there[0] if default.type == 'cpu' and there else default
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        known = ('auto', 'cpu', *_ACCELERATORS)
        raise _absent(device, nearest(str(device), known)) from error
    if chosen.type == 'cpu':
        if chosen.index:
            raise _absent(device)
        return torch.device('cpu')
    if (chosen.index or 0) >= _count(chosen.type):
        raise _absent(device)
    return chosen


def present_devices() -> list[str]:
    """The devices of this machine that torch can use, ``'cpu'`` first.

    Example:
        >>> present_devices()[0]
        'cpu'
    """
    found = ['cpu']
    for kind in _ACCELERATORS:
        count = _count(kind)
        found += [kind] if count == 1 else [f'{kind}:{index}' for index in range(count)]
    return found


def wait_for(device: torch.device) -> None:
    """Waits until a device has done what it was given: before a clock is read.

    Args:
        device: a CPU has done it already.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type != 'cpu':
        getattr(torch, device.type).synchronize()


def need_gpu_for_amp(asked_by: str = '--amp') -> None:
    """Stops where mixed precision was asked for and there is no GPU.

    Args:
        asked_by: the option or setting, for the message.

    Raises:
        UserError: no GPU.
    """
    if not torch.cuda.is_available():
        raise UserError(
            f'{asked_by} needs a GPU and this machine has none that torch can use; leave it out'
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # torch's CPU allocator has no class of its own for it.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        'out of memory' in text or 'allocate memory' in text or 'not enough memory' in text
    )


def _count(kind: str) -> int:
    """How many devices of a kind there are."""
    module = getattr(torch, kind, None) if kind in _ACCELERATORS else None
    if module is None or not getattr(module, 'is_available', lambda: True)():
        return 0
    return int(getattr(module, 'device_count', lambda: 1)())


def _absent(device: object, hint: str = '') -> UserError:
    present = present_devices()
    has = 'the CPU alone' if present == ['cpu'] else ', '.join(present)
    return UserError(
        f'There is no device {str(device)!r}: torch can use {has} here, so say '
        f'{" or ".join(map(repr, present))}, or leave the device out.{hint}'
    )
