"""Scores of a segmentation that may also answer "none of these"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ovseg.errors import UserError, nearest
from ovseg.evaluation.areas import Areas


def none_scores(areas: Areas, none: int) -> dict[str, float]:
    """IoU of "none of these" and of the asked classes, in percent.

    Args:
        areas: pixel counts, "none of these" being a class.
        none: its label.

    Returns:
        ``none_IoU``; ``known_mIoU``, the mean over the other classes that are labelled somewhere;
        ``harmonic``, their harmonic mean. NaN where there is nothing to average.

    Example:
        >>> areas = Areas(torch.tensor([1, 1]), torch.tensor([2, 2]), torch.tensor([1, 3]))
        >>> {name: round(value, 1) for name, value in none_scores(areas, 0).items()}
        {'none_IoU': 50.0, 'known_mIoU': 25.0, 'harmonic': 33.3}
    """
    is_known = areas.label > 0
    is_known[none] = False
    of_none, known = areas.iou[none], areas.iou[is_known].mean()
    total = of_none + known
    harmonic = 2 * of_none * known / total if total != 0 else total
    found = {'none_IoU': of_none, 'known_mIoU': known, 'harmonic': harmonic}
    return {name: 100 * float(value) for name, value in found.items()}


def open_miou(matrix: Tensor, similarity: Tensor) -> float:
    """Mean IoU, in percent, in which taking a class for a similar one is half a mistake.

    With confusion counts `M` (rows: labels) and similarities `S`: of class k, `sum_j S[k,j] M[k,j]`
    pixels are right, and `sum_j (1 - S[k,j]) M[k,j]` missed and `sum_i (1 - S[i,k]) M[i,k]` wrongly
    taken. The mean is over the labelled classes. With no similar classes it is mIoU_present.

    Args:
        matrix: (K, K + 1) of :func:`~ovseg.evaluation.areas.confusion_matrix`.
        similarity: (K, K) in [0, 1], 1 on the diagonal. Whose it is belongs to the protocol.

    Raises:
        ValueError: shapes, or similarities out of range.

    Source: the idea of Open-mIoU (Zhou et al., arXiv 2311.03352); the formula is ours.

    Example:
        >>> counts = torch.tensor([[2, 2, 0], [0, 4, 0]])
        >>> similar = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
        >>> round(open_miou(counts, torch.eye(2)), 1), round(open_miou(counts, similar), 1)
        (58.3, 77.5)
    """
    classes = len(matrix)
    if matrix.shape[1] != classes + 1 or similarity.shape != (classes, classes):
        raise ValueError(
            f'matrix must be (K, K + 1) and similarity (K, K), got {tuple(matrix.shape)} and '
            f'{tuple(similarity.shape)}'
        )
    if (similarity < 0).any() or (similarity > 1).any() or (similarity.diagonal() != 1).any():
        raise ValueError('similarities must lie in [0, 1], and be 1 on the diagonal')
    counts, alike = matrix[:, :-1].double(), similarity.double()
    right = (alike * counts).sum(1)
    labelled = matrix.sum(1).double()
    wrongly = ((1 - alike) * counts).sum(0)
    present = labelled > 0
    return 100 * float((right / (labelled + wrongly))[present].mean())


def similarity_of_groups(
    names: Sequence[str], groups: Mapping[str, Sequence[str]], alike: float = 0.5
) -> Tensor:
    """Similarities (K, K) of classes: 1 of a class with itself, `alike` within a group, else 0.

    Args:
        names: of the classes, in label order.
        groups: class names by what they have in common, such as a word that means all of them.
        alike: in [0, 1].

    Raises:
        UserError: a group names what is no class.
    """
    found = torch.eye(len(names))
    for group, members in groups.items():
        unknown = [name for name in members if name not in names]
        if unknown:
            raise UserError(
                f'group {group!r} names {unknown[0]!r}, which is no class.'
                + nearest(unknown[0], names)
            )
        index = torch.tensor([names.index(name) for name in members])
        block = found[index[:, None], index]
        found[index[:, None], index] = block.clamp_min(alike)
    return found
