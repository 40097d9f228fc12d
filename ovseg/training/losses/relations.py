"""What GKC keeps of CLIP: masks are as near to each other as their words are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def relation_distillation(
    students: Sequence[Tensor],
    taught: Sequence[Tensor],
    rows: Sequence[Tensor],
    scale: float | Tensor = 1.0,
) -> Tensor:
    """How far masks' embeddings are from CLIP's, and their relations from those of their words.

    Of an image with n targets there are n squared distances of unit vectors, student to CLIP, and
    n x n squared differences: the cosine of student i with CLIP's j less that of word i with word
    j, which counts ``scale ** 2``. All of a batch have one mean.

    Args:
        students: (n, E) of each image, of the queries that were matched with its targets.
        taught: (n, E), CLIP's embeddings of the same targets; no gradient goes there.
        rows: (n, E), text rows of the targets' words, unit vectors.
        scale: what the rows are multiplied by; learned in the release.

    Returns:
        Scalar; 0 where no image has a target.

    Source: GKC (arXiv 2303.09181), text-guided knowledge distillation; ``loss_text_kd`` of
        yongliu20/GKC.

    Example:
        >>> relation_distillation([torch.eye(2)], [torch.eye(2)], [torch.eye(2)])
        tensor(0.)
    """
    parts = []
    for own, clip, words in zip(students, taught, rows, strict=True):
        student, teacher = F.normalize(own.float(), dim=1), F.normalize(clip.float(), dim=1)
        teacher, scaled = teacher.detach(), words.float() * scale
        parts.append((scaled @ scaled.T - student @ teacher.T).square().flatten())
        parts.append((student - teacher).square().sum(1))
    found = torch.cat(parts)
    if not len(found):
        return sum((own.sum() for own in students), torch.zeros(())) * 0.0
    return found.mean()
