"""Scores of anomaly maps: pixel AUROC, AP, the best F1, and AUPRO, object by object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import Tensor
from torch.nn import functional as F

from ovseg.errors import UserError
from ovseg.evaluation.soft_maps import auroc, average_precision, best_f1, region_overlap
from ovseg.registry import METRICS
from ovseg.scores.anomaly import object_of

_SCORES = ('pixel_AUROC', 'pixel_AP', 'pixel_F1', 'AUPRO')


@dataclass(frozen=True)
class AnomalyReport:
    """What an evaluation of anomaly maps found, in percent.

    Attributes:
        objects: scores by object.
    """

    objects: dict[str, dict[str, float]]

    @property
    def metrics(self) -> dict[str, float]:
        """Means over objects."""
        return {
            name: float(np.mean([scores[name] for scores in self.objects.values()]))
            for name in _SCORES
        }

    @property
    def headline(self) -> str:
        """The score that comes first."""
        return _SCORES[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {'metrics': self.metrics, 'headline': self.headline, 'objects': self.objects}


@METRICS.register_module()
class AnomalyMetric(BaseMetric):
    """Compares soft maps of two classes with masks of defects.

    Needs ``model.test_cfg.save_logits=True``; the second class is the abnormal one. All pixels of
    an object are ranked together, and the objects' scores averaged.

    Args:
        size: (height, width) at which maps and masks are compared, both resized bilinearly and a
            mask above one half taken (published 240); None for each image's own.
        prefix: of the names of the scores, as in mmengine.
        collect_device: as in mmengine.

    Attributes:
        scores: after the evaluation, means over objects in percent, not rounded.
        report: likewise, with the objects.

    Raises:
        UserError: predictions without soft maps, or an object of which all pixels are of one kind.

    Source: AnoVL (arXiv 2308.15939), vl_test.py of the released code.
    """

    default_prefix = ''

    def __init__(
        self,
        size: tuple[int, int] | int | None = 240,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.size = (size, size) if isinstance(size, int) else size
        self.scores: dict[str, float] = {}
        self.report: AnomalyReport | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps map and mask of each image.

        Args:
            data_batch: unused.
            data_samples: with ``seg_logits`` (2, H, W) and ``gt_sem_seg`` (1, H, W).
        """
        for sample in data_samples:
            if 'seg_logits' not in sample:
                raise UserError(
                    'AnomalyMetric compares soft maps, which the model did not give: set '
                    'model.test_cfg.save_logits=True'
                )
            soft: Tensor = sample['seg_logits']['data'][1].float().exp()
            mask: Tensor = sample['gt_sem_seg']['data'].reshape(soft.shape).float()
            if self.size is not None:
                soft, mask = (
                    F.interpolate(part[None, None], self.size, mode='bilinear')[0, 0]
                    for part in (soft, mask)
                )
            kept = (soft.cpu().numpy(), (mask > 0.5).cpu().numpy())
            self.results.append((object_of(sample.get('img_path')) or 'object', *kept))

    def compute_metrics(self, results: list[tuple[str, Any, Any]]) -> dict[str, float]:
        """Scores in percent, rounded to 2 digits.

        Args:
            results: object, map and mask of each image.
        """
        objects: dict[str, dict[str, float]] = {}
        for name in sorted({found[0] for found in results}):
            maps = [soft for kind, soft, _ in results if kind == name]
            masks = [mask for kind, _, mask in results if kind == name]
            scores, labels = (np.concatenate([p.ravel() for p in part]) for part in (maps, masks))
            if labels.all() or not labels.any():
                kind = 'defective' if labels.all() else 'whole'
                raise UserError(
                    f"all pixels of the {len(maps)} images of '{name}' are {kind}, so nothing can "
                    'be told apart; add images of the other kind, or leave the object out'
                )
            values = (
                auroc(scores, labels),
                average_precision(scores, labels),
                best_f1(scores, labels),
                region_overlap(maps, masks),
            )
            objects[name] = {key: 100 * v for key, v in zip(_SCORES, values, strict=True)}
        self.report = AnomalyReport(objects)
        self.scores = self.report.metrics
        return {name: round(value, 2) for name, value in self.scores.items()}
