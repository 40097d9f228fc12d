"""How well a score tells pixels of no asked class, and wrong ones, from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ovseg.errors import UserError, nearest
from ovseg.exact_digits import shortest
from ovseg.text.decision_rule import Evidence

# Fine enough that ties within a bin change an area under a curve in its fourth digit at most.
BINS = 1 << 14
RIGHT, WRONG, NONE = range(3)
_STEPS = 50


@dataclass(frozen=True)
class Doubt:
    """What a test of the rejection rule compares, as a number that grows with the doubt.

    Attributes:
        read: the number of each pixel, from the evidence.
        to_unit: to [0, 1], ascending; spreads what lies close together.
        limit: from [0, 1] back to the test's own limit.
    """

    read: Callable[[Evidence], Tensor]
    to_unit: Callable[[Tensor], Tensor]
    limit: Callable[[float], float]


def _spread(doubt: Tensor) -> Tensor:
    # A sharp softmax leaves most doubts next to 0.
    return doubt.clamp(0, 1) ** 0.25


def _squashed(energy: Tensor) -> Tensor:
    return 0.5 + 0.5 * energy / (1 + energy.abs())


def _unsquashed(unit: float) -> float:
    signed = min(max(2 * unit - 1, -1 + 1e-6), 1 - 1e-6)
    return signed / (1 - abs(signed))


# Field of a Rejection -> its doubt.
DOUBTS = {
    'threshold': Doubt(lambda seen: 1 - seen.share, _spread, lambda unit: 1 - unit**4),
    'margin': Doubt(lambda seen: 1 - seen.margin, _spread, lambda unit: 1 - unit**4),
    'contrast_margin': Doubt(lambda seen: 1 - seen.contrast, _spread, lambda unit: 1 - unit**4),
    'energy': Doubt(lambda seen: seen.energy, _squashed, _unsquashed),
}


def doubt_of(rule: str) -> Doubt:
    """The doubt that a test compares.

    Args:
        rule: the field of a Rejection.

    Raises:
        UserError: there is no such test, or it has no limit to fit.
    """
    if rule not in DOUBTS:
        known = ', '.join(DOUBTS)
        raise UserError(
            f'a limit can be fitted to {known}, not to {rule!r}.{nearest(rule, DOUBTS)}'
        )
    return DOUBTS[rule]


@dataclass(frozen=True, eq=False)
class DoubtCounts:
    """Pixels by doubt, of any number of images.

    Attributes:
        rule: whose doubt, a key of ``DOUBTS``.
        counts: (3, BINS) int64, ascending doubt: pixels of asked classes that are right before
            anything is rejected, such pixels that are wrong, and pixels of no asked class.
    """

    rule: str
    counts: Tensor

    @classmethod
    def empty(cls, rule: str) -> DoubtCounts:
        """No pixels."""
        doubt_of(rule)
        return cls(rule, torch.zeros(3, BINS, dtype=torch.int64))

    @classmethod
    def of_pixels(
        cls, rule: str, doubt: Tensor, label: Tensor, truth: Tensor, none: int | None, ignored: int
    ) -> DoubtCounts:
        """The counts of some pixels.

        Args:
            rule: whose doubt.
            doubt: of each pixel, by ``DOUBTS[rule].read``, of any shape.
            label: best class of each, before anything is rejected; those of the background are
                rejected already, and doubted most.
            truth: the classes that they have.
            none: label of the background, which pixels of no asked class have; None: no such.
            ignored: pixels with this truth do not count.
        """
        unit = doubt_of(rule).to_unit(doubt.float())
        if none is not None:
            unit = unit.masked_fill(label == none, 1.0)
        truth = truth.to(label.device)
        kind = torch.where(label == truth, RIGHT, WRONG)
        if none is not None:
            kind = kind.masked_fill(truth == none, NONE)
        bins = (unit * BINS).long().clamp(0, BINS - 1)
        key = (kind * BINS + bins)[truth != ignored]
        return cls(rule, key.bincount(minlength=3 * BINS).view(3, BINS).cpu())

    def __add__(self, other: DoubtCounts) -> DoubtCounts:
        return DoubtCounts(self.rule, self.counts + other.counts)

    def over_processes(self) -> DoubtCounts:
        """The sum over all processes of a run."""
        counts = self.counts.clone()
        all_reduce(counts)
        return DoubtCounts(self.rule, counts)

    @property
    def known(self) -> Tensor:
        """(BINS,) float64, pixels of asked classes."""
        return (self.counts[RIGHT] + self.counts[WRONG]).double()

    @property
    def none(self) -> Tensor:
        """(BINS,) float64, pixels of no asked class."""
        return self.counts[NONE].double()

    def auroc(self) -> float:
        """Chance in [0, 1] that a pixel of no class is doubted more than one of a class.

        Equal doubts count half; NaN without pixels of either.
        """
        known, none = self.known, self.none
        below = known.cumsum(0) - known
        return float((none * (below + known / 2)).sum() / (known.sum() * none.sum()))

    def false_alarms(self, found: float = 0.95) -> float:
        """Share in [0, 1] of the pixels of classes lost when so many of no class are found.

        Args:
            found: share of the pixels of no class that the limit has to reject.
        """
        rejected, lost = _from_above(self.none), _from_above(self.known)
        enough = (rejected >= found - 1e-12).nonzero()
        return float(lost[enough.max()]) if len(enough) else float('nan')

    def curve(self, steps: int = _STEPS) -> list[dict[str, float | None]]:
        """Risk by coverage: what is kept of the asked classes' pixels, and how much is wrong.

        Args:
            steps: how many points; the limits lie where coverage changes evenly.

        Returns:
            Records with ``limit``, ``coverage`` (share kept of the pixels of asked classes),
            ``risk`` (share wrong of all that is kept, pixels of no class among them) and
            ``none_found`` (share rejected of these; None without any).
        """
        kept = self.counts.double().cumsum(1)
        coverage = (kept[RIGHT] + kept[WRONG]) / self.known.sum()
        points, last = [], -1
        for step in range(1, steps + 1):
            edge = int((coverage >= step / steps - 1e-12).nonzero().min())
            if edge == last:
                continue
            last = edge
            risk = (kept[WRONG] + kept[NONE])[edge] / kept[:, edge].sum()
            found = 1 - kept[NONE, edge] / self.none.sum() if self.none.sum() else None
            points.append(
                {
                    'limit': self._limit(edge + 1),
                    'coverage': float(coverage[edge]),
                    'risk': float(risk),
                    'none_found': None if found is None else float(found),
                }
            )
        return points

    def limit_that_keeps(self, share: float) -> float:
        """The strictest limit that keeps a share of the pixels of asked classes that are right.

        Args:
            share: in (0, 1].
        """
        kept = self.counts[RIGHT].double().cumsum(0)
        self._need(kept[-1], 'no pixel of an asked class is right')
        return self._limit(int((kept >= share * kept[-1] - 1e-9).nonzero().min()) + 1)

    def limit_that_tells(self) -> float:
        """The limit with the largest sum of found pixels of no class and kept ones of classes.

        Both as shares (Youden's index), so that it does not matter how many there are of each.
        """
        self._need(self.none.sum(), 'no pixel is of no asked class')
        self._need(self.known.sum(), 'no pixel is of an asked class')
        gain = _from_above(self.none) - _from_above(self.known)
        return self._limit(int(gain.argmax()))

    def _limit(self, edge: int) -> float:
        """The test's limit at the lower edge of a bin.

        Of the numbers that float32 tells apart, in which scores are compared, it is the one of the
        fewest digits, so that who types what was printed gets the same rule.
        """
        return shortest(doubt_of(self.rule).limit(edge / BINS))

    def _need(self, count: Any, why: str) -> None:
        if not count:
            raise UserError(f'a limit of {self.rule} cannot be fitted: {why} in these images')


def _from_above(counts: Tensor) -> Tensor:
    """Share of the pixels in a bin or above it."""
    return counts.flip(0).cumsum(0).flip(0) / counts.sum()


class CalibrationError:
    """Expected calibration error of the probability of the best class, over equal bins.

    Args:
        bins: how many.

    Attributes:
        counts: (3, bins) float64: pixels, sum of their probabilities, right ones.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), eq. 3.
    """

    def __init__(self, bins: int = 15) -> None:
        self.bins = bins
        self.counts = torch.zeros(3, bins, dtype=torch.float64)

    def add(self, probability: Tensor, is_right: Tensor) -> None:
        """Counts pixels.

        Args:
            probability: of the best class, in [0, 1], of any shape.
            is_right: bool, of the same shape.
        """
        flat = probability.flatten().double().cpu()
        # A bin holds its upper edge, as in the source.
        index = ((flat * self.bins).ceil() - 1).clamp(0, self.bins - 1).long()
        for row, values in enumerate((torch.ones_like(flat), flat, is_right.flatten().cpu())):
            self.counts[row].index_add_(0, index, values.double())

    def value(self) -> float:
        """The error in [0, 1], over all processes; NaN without pixels."""
        counts = self.counts.clone()
        all_reduce(counts)
        pixels, probability, right = counts
        return float((right - probability).abs().sum() / pixels.sum())
