"""How well a soft map tells two kinds of pixels apart, at all thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.bool_]
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def auroc(scores: Scores, labels: Labels) -> float:
    """Chance that a positive scores above a negative, ties counting one half.

    Args:
        scores: (N,), the larger the more positive.
        labels: (N,), of both kinds.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875
    """
    from scipy.stats import rankdata  # half a second, which most processes do not need

    positives = int(labels.sum())
    negatives = len(labels) - positives
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def precision_recall(scores: Scores, labels: Labels) -> tuple[npt.NDArray, npt.NDArray]:
    """Precision and recall of "at least this score", for each score there is, falling.

    Args:
        scores: (N,).
        labels: (N,), with a positive.
    """
    order = np.argsort(-scores, kind='stable')
    falling = scores[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    hits = np.cumsum(labels[order])[last]
    return hits / (last + 1), hits / hits[-1]


def average_precision(scores: Scores, labels: Labels) -> float:
    """Precision, averaged over the positives, not interpolated; scikit-learn's definition.

    Example:
        >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
        0.8333333333333333
    """
    precision, recall = precision_recall(scores, labels)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def best_f1(scores: Scores, labels: Labels) -> float:
    """F1 at the threshold where it is largest.

    Example:
        >>> best_f1(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
        0.8
    """
    precision, recall = precision_recall(scores, labels)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def region_overlap(
    maps: Sequence[Scores], masks: Sequence[Labels], limit: float = 0.3, steps: int = 200
) -> float:
    """AUPRO: area under the mean overlap of regions, as false positives grow to a limit.

    Regions are connected, corners included, and count alike whatever their size. Rates of false
    positives are stretched to 0..1 before the area is taken, as in the released code.

    Args:
        maps: (H, W) of each image.
        masks: (H, W) of each image; one has a region, and one a pixel without.
        limit: largest rate of false positives, not included.
        steps: thresholds, equally far apart from the smallest score on.

    Source: PRO of MVTec AD (Bergmann et al. 2021); AnoVL, vl_test.py, ``cal_pro_score``.
    """
    regions, outside = [], []
    for scores, mask in zip(maps, masks, strict=True):
        numbers, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
        regions += [np.sort(scores[numbers == number]) for number in range(1, count + 1)]
        outside.append(scores[~mask])
    negatives = np.sort(np.concatenate(outside))
    lowest = min(float(scores.min()) for scores in maps)
    highest = max(float(scores.max()) for scores in maps)
    if highest == lowest:
        return 0.0  # no threshold leaves anything
    thresholds = np.arange(lowest, highest, (highest - lowest) / steps)
    false = _share_above(negatives, thresholds)
    overlap = np.mean([_share_above(region, thresholds) for region in regions], axis=0)
    kept = false < limit
    false, overlap = false[kept][::-1], overlap[kept][::-1]
    if len(false) < 2 or false[-1] == false[0]:
        return float(overlap.max(initial=0.0))
    false = (false - false[0]) / (false[-1] - false[0])
    return float(
        np.trapezoid(overlap, false) if hasattr(np, 'trapezoid') else np.trapz(overlap, false)
    )


def _share_above(ascending: Scores, thresholds: npt.NDArray) -> npt.NDArray:
    return 1 - np.searchsorted(ascending, thresholds, side='right') / len(ascending)
