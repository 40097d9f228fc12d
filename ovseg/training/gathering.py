"""Features of all processes, for losses that contrast a whole batch."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor


def gather_batch(own: Tensor) -> Tensor:
    """Returns the rows of all processes in the order of their ranks.

    The own rows keep their gradients, those of others have none. With gradients averaged over
    processes each row's gradient so is the whole batch's divided by the number of processes.

    Args:
        own: (B, ...), of one size in all processes.

    Returns:
        (processes * B, ...).

    Source: open_clip's loss without ``gather_with_grad``, as OVSeg trained.
    """
    if get_world_size() == 1:
        return own
    parts = all_gather(own.detach().contiguous())
    parts[get_rank()] = own
    return torch.cat(parts)
