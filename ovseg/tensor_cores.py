"""What a GPU's tensor cores are asked for beside a precision: TF32, and channels last."""

from __future__ import annotations

import torch
from torch import nn

from ovseg.errors import UserError
from ovseg.precision_choice import has_tensor_cores_for


def set_tf32(allowed: bool, device: torch.device) -> None:
    """Whether this process's GPUs may round float32 products to TF32, in matrices and convolutions.

    TF32 keeps ten bits of what is multiplied, as float16 does, and sums up in float32. torch allows
    it in convolutions by itself: not allowed means there, too. Both are torch's own switches, for
    all threads, so scores and cosines are rounded like the encoders' products.

    Args:
        allowed: False for whole float32.
        device: that will compute.

    Raises:
        UserError: it is allowed and the device has no such products.
    """
    has = device.type == 'cuda' and has_tensor_cores_for('tf32', device)
    if allowed and not has:
        raise UserError(
            f"--tf32 is for NVIDIA GPUs from compute capability 8.0 on, and '{device}' has no such "
            'products: leave it out'
        )
    if has:
        torch.set_float32_matmul_precision('high' if allowed else 'highest')
        torch.backends.cudnn.allow_tf32 = allowed


def tf32_is_allowed(device: torch.device) -> bool:
    """Whether float32 products on a device are rounded to TF32, as torch's switches stand.

    Args:
        device: that computes.
    """
    return (
        device.type == 'cuda'
        and has_tensor_cores_for('tf32', device)
        and (torch.get_float32_matmul_precision() != 'highest' or torch.backends.cudnn.allow_tf32)
    )


def put_channels_last(network: nn.Module) -> None:
    """Lays a network's convolutions out as tensor cores read them: a pixel's channels side by side.

    What they convolve follows their weights, so that nothing is copied between two of them. The
    values stay the same.

    Args:
        network: with or without convolutions.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            weight = part.weight
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
