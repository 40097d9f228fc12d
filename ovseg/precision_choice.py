"""Which precision a network computes in on a device: ``auto`` and its exceptions, decided here."""

from __future__ import annotations

import argparse
import os
import platform
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError, nearest, notify

# Command lines ask for the names before torch is imported: functions import what they need.
if TYPE_CHECKING:
    import torch

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')
# What auto means in a process and those that it starts, instead of the fastest.
VARIABLE = 'OVSEG_PRECISION'
# Compute capabilities from which on tensor cores multiply these types.
_TENSOR_CORES = {'bfloat16': (8, 0), 'float16': (7, 0), 'tf32': (8, 0)}
# torch's words for a processor's instructions that multiply them: x86, then ARM.
_INSTRUCTIONS = {
    'bfloat16': ('amx_bf16', 'avx512_bf16', 'bf16', 'sve_bf16'),
    'float16': ('amx_fp16', 'avx512_fp16', 'fp16_arith'),
}
# The same asked of a torch that has no list of them.
_QUESTIONS = {
    'bfloat16': ('_is_amx_tile_supported', '_is_avx512_bf16_supported'),
    'float16': ('_is_amx_fp16_supported',),
}
_ONEDNN_TAKES = {'bfloat16': '_is_mkldnn_bf16_supported', 'float16': '_is_mkldnn_fp16_supported'}


def add_precision_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds ``--precision`` and ``--tf32``.

    Args:
        parser: receives it.
        default: of :data:`PRECISIONS`.
    """
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default=default,
        help='of the products in the image encoders; auto: the fastest that the device has '
        'instructions for (default: %(default)s)',
    )
    add_tf32_argument(parser)


def add_tf32_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--tf32``.

    Args:
        parser: receives it.
    """
    parser.add_argument(
        '--tf32',
        action='store_true',
        help='what is float32 on an NVIDIA GPU may be multiplied in TF32 (10 bits): faster, and '
        'the protocol says so',
    )


def choose_precision(
    precision: str | torch.dtype, device: torch.device | None = None
) -> torch.dtype:
    """The precision that a network is to compute in.

    ``'auto'`` is bfloat16 on GPUs that have it (NVIDIA from compute capability 8.0, AMD, XPU),
    float16 on older NVIDIA GPUs with tensor cores and on MPS, bfloat16 on processors with
    instructions for its products (AMX, AVX-512 BF16, ARM's), else float32; or what the environment
    variable ``OVSEG_PRECISION`` says.

    Args:
        precision: of :data:`PRECISIONS`, or one of these as torch calls it.
        device: that will compute; None for the CPU.

    Raises:
        UserError: no such precision, or one that the device has not.

    Warns:
        Notice: a precision asked for by name in which this processor is slower than in float32.

    Example:
        >>> choose_precision('float32')
        torch.float32
    """
    import torch

    name = str(precision).removeprefix('torch.')
    source = 'precision'
    if name == 'auto' and os.environ.get(VARIABLE):
        name, source = os.environ[VARIABLE], VARIABLE
    if name not in PRECISIONS:
        raise UserError(
            f"{source} must be one of {', '.join(PRECISIONS)}, got '{name}'."
            f'{nearest(name, PRECISIONS)}'
        )
    device = torch.device('cpu') if device is None else device
    if name == 'auto':
        name = fastest_precision(device)
    elif name != 'float32':
        _check(name, device, f"{source}='{name}'")
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def fastest_precision(device: torch.device) -> str:
    """What ``'auto'`` means on a device.

    Args:
        device: that will compute.
    """
    if device.type == 'cpu':
        return 'bfloat16' if cpu_multiplies('bfloat16') else 'float32'
    if device.type == 'cuda':
        has = [name for name in ('bfloat16', 'float16') if has_tensor_cores_for(name, device)]
        return has[0] if has else 'float32'
    if device.type == 'mps':
        return 'float16'
    return 'bfloat16' if device.type == 'xpu' and _computes('bfloat16', device) else 'float32'


def _check(name: str, device: torch.device, asked: str) -> None:
    """Stops at what a device has not, and tells what it is slow at."""
    if device.type == 'cpu':
        if not cpu_multiplies(name):
            notify(
                f'this processor has no instructions for products in {name}, so {asked} takes '
                "longer than 'float32', the fastest here"
            )
    elif not _computes(name, device) or (
        # torch imitates it there, several times slower than float32.
        device.type == 'cuda' and name == 'bfloat16' and not has_tensor_cores_for(name, device)
    ):
        raise UserError(
            f"The device '{device}' does not compute in {name}: choose the precision "
            f"'{fastest_precision(device)}', or 'auto', which does."
        )


def cpu_multiplies(name: str) -> bool:
    """Whether the CPU has instructions for products in a precision, and torch uses them.

    Args:
        name: ``'bfloat16'`` or ``'float16'``.
    """
    import torch

    # Without oneDNN, or with one that knows no such products, torch has its plain loops alone.
    if not torch.backends.mkldnn.is_available() or not _says(torch.ops.mkldnn, _ONEDNN_TAKES[name]):
        return False
    listed = getattr(torch.cpu, 'get_capabilities', None)
    if listed is not None:
        found = dict(listed())
        return any(bool(found.get(instruction)) for instruction in _INSTRUCTIONS[name])
    if platform.machine().lower() in ('aarch64', 'arm64'):
        return True  # there oneDNN takes them only with the instructions
    return any(_says(torch.cpu, question) for question in _QUESTIONS[name])


def _says(owner: Any, question: str) -> bool:
    """What torch answers to a question of its own; no where it does not know it."""
    try:
        return bool(getattr(owner, question)())
    except (AttributeError, RuntimeError):
        return False


def has_tensor_cores_for(name: str, device: torch.device) -> bool:
    """Whether a CUDA GPU multiplies numbers of a type in its tensor cores.

    Args:
        name: ``'bfloat16'``, ``'float16'`` or ``'tf32'``.
        device: a CUDA one.
    """
    import torch

    return torch.cuda.get_device_capability(device) >= _TENSOR_CORES[name]


def _computes(name: str, device: torch.device) -> bool:
    """Whether a device multiplies two numbers of a precision at all."""
    import torch

    try:
        one = torch.ones(1, 1, dtype=getattr(torch, name), device=device)
        return bool((one @ one).item() == 1)
    except (RuntimeError, TypeError, NotImplementedError):
        return False
