"""Average precision of boxes and masks as mmdet's COCO metric counts it, ready for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# mmdet's name of what is compared -> ours; in the order of published tables.
_KINDS = {'bbox': 'box', 'segm': 'mask'}
_AP = 'mAP'


@dataclass(frozen=True)
class AveragePrecisionReport:
    """What an evaluation of detections found.

    Attributes:
        scores: AP in percent by name: ``box AP``, ``box AP_50``, ``mask AP``, ...; None where the
            data set has no object of that size.
    """

    scores: dict[str, float | None]

    @classmethod
    def from_metrics(
        cls, metrics: Mapping[str, Any], compared: Sequence[str] = ()
    ) -> AveragePrecisionReport | None:
        """The report of what mmdet's ``CocoMetric`` returned; None if it holds no AP.

        Args:
            metrics: fractions by name, such as ``coco/bbox_mAP_50``; -1 where nothing was counted.
            compared: ``bbox``, ``segm``; where nothing at all was detected, mmdet returns no
                fraction for them, and their AP is 0.

        Example:
            >>> AveragePrecisionReport.from_metrics({'coco/bbox_mAP_50': 0.25}).scores
            {'box AP_50': 25.0}
        """
        scores = {}
        for name, value in metrics.items():
            kind, _, score = name.rpartition('/')[2].partition('_')
            if kind in _KINDS and score.startswith(_AP):
                ours = f'{_KINDS[kind]} AP{score.removeprefix(_AP)}'
                # mmdet rounds to three places; so does this to one of percent.
                scores[ours] = None if value < 0 else round(100 * value, 1)
        if not metrics:
            scores = {f'{_KINDS[kind]} AP': 0.0 for kind in compared if kind in _KINDS}
        return cls(scores) if scores else None

    @property
    def headline(self) -> str:
        """The score that comes first: of masks if they were compared, else of boxes."""
        return next(name for name in ('mask AP', 'box AP', *self.scores) if name in self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {'metrics': self.scores, 'headline': self.headline}

    def text(self) -> str:
        """The scores in one line, in percent."""
        shown = (
            f'{name} {"-" if value is None else f"{value:.1f}"}'
            for name, value in self.scores.items()
        )
        return '  '.join(shown)
