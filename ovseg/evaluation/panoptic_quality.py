"""Panoptic quality: matching segments, counting them, and the scores made of the counts.

Source: Panoptic Segmentation (arXiv 1801.00868), section 4, with the rules of panopticapi for
pixels and groups that nobody annotated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg.datasets.panoptic_truth import VOID, PanopticTruth

# Of the annotations and of predictions: above it a pair is matched, and then it is unique.
_MATCHED = 0.5


@dataclass(frozen=True, eq=False)
class SegmentCounts:
    """Matches and misses of the classes that occur, over any number of images.

    Attributes:
        labels: (L,) int64, the classes, ascending.
        iou: (L,) float64, summed over the matched pairs.
        matched: (L,) int64, pairs of a predicted and a true segment (true positives).
        invented: (L,) int64, predicted segments without a partner (false positives).
        missed: (L,) int64, true segments without a partner (false negatives).
    """

    labels: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    matched: npt.NDArray[np.int64]
    invented: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]

    @classmethod
    def total(cls, counts: Sequence[SegmentCounts], num_classes: int) -> SegmentCounts:
        """The sums over images, with a row for each of K classes.

        Args:
            counts: of images.
            num_classes: K.
        """
        sums = np.zeros((4, num_classes))
        for each in counts:
            columns = (each.iou, each.matched, each.invented, each.missed)
            np.add.at(sums.T, each.labels, np.stack(columns, axis=1))
        whole = sums[1:].astype(np.int64)
        return cls(np.arange(num_classes), sums[0], whole[0], whole[1], whole[2])

    @property
    def occurs(self) -> npt.NDArray[np.bool_]:
        """(L,) whether a class was annotated or predicted at all; only these have a quality."""
        return self.matched + self.invented + self.missed > 0

    @property
    def qualities(self) -> npt.NDArray[np.float64]:
        """(3, L) in [0, 1]: PQ, SQ and RQ; NaN for a class that does not occur.

        SQ of a class without a match is 0, as in panopticapi.
        """
        weight = self.matched + 0.5 * self.invented + 0.5 * self.missed
        with np.errstate(invalid='ignore'):
            recognised = self.matched / weight
            quality = self.iou / weight
        alike = self.iou / np.maximum(self.matched, 1)
        return np.stack([quality, np.where(self.occurs, alike, np.nan), recognised])


def count_segments(
    ids: npt.NDArray[np.integer], labels: Mapping[int, int], truth: PanopticTruth
) -> SegmentCounts:
    """Matches and misses of an image.

    A predicted and a true segment of one class are matched where their IoU is above 0.5; pixels
    without annotation count in no union. Groups of things are matched with nothing, and a
    prediction without a partner is forgiven if more than half of it lies on no annotation or on a
    group of its class (of several such groups, on the last one, as in panopticapi).

    Args:
        ids: (H, W), the predicted segment of each pixel, 0 for none.
        labels: class of each predicted segment, by its id.
        truth: the annotation, of the same size.

    Raises:
        ValueError: sizes differ, or ids and ``labels`` do not belong together.
    """
    if ids.shape != truth.ids.shape:
        raise ValueError(
            f'the segments have {ids.shape[0]} x {ids.shape[1]} pixels, the annotation '
            f'{truth.ids.shape[0]} x {truth.ids.shape[1]}'
        )
    true_ids, found, overlaps = _overlaps(truth.ids, ids)
    predicted = np.array([number for number in found.tolist() if number != VOID], np.int64)
    if set(predicted.tolist()) != set(labels):
        unlike = sorted(set(predicted.tolist()) ^ set(labels))
        raise ValueError(f'segment {unlike[0]} is in the id map or in the list of segments alone')
    overlaps = overlaps[:, found != VOID]
    kinds = np.array([labels[number] for number in predicted.tolist()], np.int64)
    areas = overlaps.sum(0)
    place = {number: row for row, number in enumerate(true_ids.tolist())}
    nothing = np.zeros(len(predicted), np.int64)
    on_void = overlaps[place[VOID]] if VOID in place else nothing
    shared = {
        segment.id: overlaps[place[segment.id]] if segment.id in place else nothing
        for segment in truth.segments
    }
    tally = _Tally()
    is_matched = np.zeros(len(predicted), bool)
    groups = {}
    for segment in truth.segments:
        if segment.is_crowd:
            groups[segment.label] = shared[segment.id]
            continue
        own = shared[segment.id]
        union = areas + segment.area - own - on_void
        iou = np.where(own > 0, own / np.maximum(union, 1), 0.0)
        pairs = (kinds == segment.label) & (iou > _MATCHED)
        is_matched |= pairs
        if pairs.any():
            tally.add(segment.label, iou[pairs].sum(), int(pairs.sum()), 0, 0)
        else:
            tally.add(segment.label, 0.0, 0, 0, 1)
    for number in np.flatnonzero(~is_matched):
        label = int(kinds[number])
        forgiven = on_void[number] + groups.get(label, nothing)[number]
        if forgiven / areas[number] <= 0.5:
            tally.add(label, 0.0, 0, 1, 0)
    return tally.counts()


def _overlaps(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    """Values of two maps, ascending, and in how many pixels each pair of them meets.

    Maps are read run by run: along a row of an image values seldom change, and there are far fewer
    runs to sort than pixels.
    """
    first, second = rows.ravel(), columns.ravel()
    changes = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1]) if first.size else np.array([], int)
    lengths = np.diff(np.append(starts, first.size))
    row_values, row = np.unique(first[starts], return_inverse=True)
    column_values, column = np.unique(second[starts], return_inverse=True)
    counted = np.zeros((len(row_values), len(column_values)), np.int64)
    np.add.at(counted, (row, column), lengths)
    return row_values, column_values, counted


class _Tally:
    """Counts of classes while an image is gone through."""

    def __init__(self) -> None:
        self._rows: dict[int, list[float]] = {}

    def add(self, label: int, iou: float, matched: int, invented: int, missed: int) -> None:
        """Adds to a class."""
        row = self._rows.setdefault(label, [0.0, 0, 0, 0])
        for column, value in enumerate((iou, matched, invented, missed)):
            row[column] += value

    def counts(self) -> SegmentCounts:
        """All of it."""
        labels = sorted(self._rows)
        rows = np.array([self._rows[label] for label in labels], np.float64).reshape(-1, 4)
        whole = rows[:, 1:].astype(np.int64)
        return SegmentCounts(
            np.array(labels, np.int64), rows[:, 0], whole[:, 0], whole[:, 1], whole[:, 2]
        )


def mean_qualities(
    counts: SegmentCounts, chosen: npt.NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """``PQ``, ``SQ`` and ``RQ`` in percent, the means over the classes that occur.

    Args:
        counts: with a row for each class.
        chosen: (K,), the classes to average; None for all.

    Returns:
        NaN where no class occurs.
    """
    among = counts.occurs if chosen is None else counts.occurs & chosen
    if not among.any():
        return dict.fromkeys(('PQ', 'SQ', 'RQ'), float('nan'))
    means = 100 * counts.qualities[:, among].mean(1)
    return dict(zip(('PQ', 'SQ', 'RQ'), map(float, means), strict=True))
