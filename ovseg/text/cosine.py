"""Cosines of embeddings with text rows, and the row that stands for no class at all."""

from __future__ import annotations

import torch
from torch import Tensor

# Of both of OVSeg's classifiers, in training and after it; CLIP's own temperature is not read.
LOGIT_SCALE = 100.0
_SHORTEST = 1e-12


def with_no_object(rows: Tensor, no_object: Tensor) -> Tensor:
    """Text rows (K + 1, E) with "no object" as the last.

    Args:
        rows: (K, E), unit vectors.
        no_object: (1, E) or (E,), learned, of any length; it is normalised.
    """
    no_object = no_object.reshape(1, -1)
    return torch.cat([rows, no_object / no_object.norm(dim=-1, keepdim=True)])


def cosine_logits(embeddings: Tensor, rows: Tensor, scale: float | Tensor = LOGIT_SCALE) -> Tensor:
    """Scaled cosines, (..., K).

    Args:
        embeddings: (..., E), of any length; one of zeros has cosine 0 with every row.
        rows: (K, E), unit vectors.
        scale: what they are multiplied by.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = embeddings.float()
        units = embeddings / embeddings.norm(dim=-1, keepdim=True).clamp_min(_SHORTEST)
        return scale * units @ rows.float().T
