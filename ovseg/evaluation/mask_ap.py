"""The metric of instance segmentation: mask AP of things, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from ovseg.coco_masks import mask_record
from ovseg.errors import UserError
from ovseg.evaluation.average_precision import AveragePrecisionReport
from ovseg.evaluation.class_groups import chosen_classes, number_or_none
from ovseg.evaluation.coco_annotations import CocoAnnotations
from ovseg.evaluation.mask_precision import ImageMasks, mask_precision
from ovseg.evaluation.panoptic import of_sample
from ovseg.input_files import regular_file
from ovseg.registry import METRICS

_HEAD = 'mask '


@METRICS.register_module()
class MaskAPMetric(BaseMetric):
    """AP of masks with the numbers of pycocotools, over the classes that are things.

    Masks are those of ``pred_instances`` where a model fills it in
    (:class:`~ovseg.regions.mask_instances.Instances`, or mmdet's form), else the things among
    ``pred_segments``, which do not overlap. Annotations are those of ``ann_file``, else the things
    of ``panoptic_truth``. Of both only run lengths are kept until the end, when pycocotools goes
    through them.

    Args:
        ann_file: annotations in COCO's instance format, whose masks may overlap and whose areas
            are taken as they stand there; images and classes are found by their names.
        groups: class names by group; each gets an AP of its own, of the things among them.
        most: how many of an image's surest masks of a class count; published 100.
        prefix: of the names of the scores, as in mmengine.
        collect_device: as in mmengine.

    Attributes:
        report: after the evaluation, an
            :class:`~ovseg.evaluation.average_precision.AveragePrecisionReport`.
        scores: the same numbers by name, in percent; None where nothing was annotated.

    Raises:
        FileNotFoundError: there is no ``ann_file``.
        UserError: a sample without annotation or predictions, or of another size than its
            annotation; a group with a name that is no class.

    Source: pycocotools, cocoeval.py.
    """

    # Scores go by their own names; mmengine warns where this is None.
    default_prefix = ''

    def __init__(
        self,
        ann_file: str | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        most: int = 100,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if most < 1:
            raise UserError(f'MaskAPMetric.most must be at least 1, got {most}')
        self.groups = {name: list(members) for name, members in (groups or {}).items()}
        self.most = most
        self.ann_file = ann_file
        self._annotations: CocoAnnotations | None = None
        if ann_file is not None:
            regular_file(ann_file, 'annotation file')
        self.report: AveragePrecisionReport | None = None
        self.scores: dict[str, float | None] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the masks of a batch as run lengths.

        Args:
            data_batch: unused.
            data_samples: see the class.
        """
        for sample in data_samples:
            found = of_sample(sample, 'pred_segments', type(self).__name__)
            size, true = self._annotated(sample)
            if tuple(found.ids.shape) != size:
                raise UserError(
                    f'{sample.get("img_path", "an image")}: the segments are '
                    f'{tuple(found.ids.shape)}, the annotation {size}'
                )
            instances = sample.get('pred_instances')
            masks = _of_segments(found) if instances is None else _of_instances(instances)
            kept = [mask for mask in masks if mask['category_id'] - 1 in self._things]
            self.results.append(ImageMasks(size, true, kept))

    def _annotated(self, sample: Mapping[str, Any]) -> tuple[tuple[int, int], list[dict[str, Any]]]:
        """(height, width) of an image and the masks of its things."""
        if self.ann_file is not None:
            if self._annotations is None:
                self._annotations = CocoAnnotations(self.ann_file, self._classes)
            return self._annotations.of_image(str(sample['img_path']))
        truth = of_sample(sample, 'panoptic_truth', type(self).__name__)
        return truth.ids.shape, [
            {
                'category_id': segment.label + 1,
                'iscrowd': int(segment.is_crowd),
                **mask_record(truth.ids == segment.id),
            }
            for segment in truth.segments
            if segment.label in self._things
        ]

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple((self.dataset_meta or {}).get('classes') or ())

    @property
    def _things(self) -> frozenset[int]:
        things = set((self.dataset_meta or {}).get('thing_classes') or ())
        return frozenset(label for label, name in enumerate(self._classes) if name in things)

    def compute_metrics(self, results: list[ImageMasks]) -> dict[str, float]:
        """The scores in percent, rounded to 2 digits.

        Args:
            results: masks of each image.
        """
        found = mask_precision(results, len(self._classes), self.most)
        scores = {_HEAD + name: value for name, value in found.means().items()}
        for group, members in self.groups.items():
            chosen = chosen_classes(members, self._classes, group)
            scores[f'{_HEAD}AP_{group}'] = found.means(chosen)['AP']
        self.scores = {name: number_or_none(value) for name, value in scores.items()}
        self.report = AveragePrecisionReport(self.scores)
        if is_main_process():
            table = PrettyTable(['Class', 'mask AP'])
            table.align = 'r'
            table.align['Class'] = 'l'
            for name, value in zip(self._classes, found.of_classes(), strict=True):
                if not np.isnan(value):
                    table.add_row([name, f'{value:.2f}'])
            MMLogger.get_current_instance().info(f'mask AP by class:\n{table.get_string()}')
        return {name: round(value, 2) for name, value in scores.items()}


def _of_segments(found: Any) -> list[dict[str, Any]]:
    ids = found.ids.cpu().numpy()
    return [
        {
            'category_id': segment.label + 1,
            'score': segment.score,
            **mask_record(ids == segment.id),
        }
        for segment in found.segments
        if segment.is_thing
    ]


def _of_instances(given: Any) -> list[dict[str, Any]]:
    found = given if isinstance(given, Mapping) else vars(given)
    labels, scores = (torch.as_tensor(found[key]).tolist() for key in ('labels', 'scores'))
    return [
        {'category_id': int(label) + 1, 'score': float(score), **_record(mask)}
        for mask, label, score in zip(found['masks'], labels, scores, strict=True)
    ]


def _record(mask: Any) -> dict[str, Any]:
    if isinstance(mask, Mapping):
        from pycocotools import mask as run_lengths

        return {
            'segmentation': dict(mask),
            'area': int(run_lengths.area(mask)),
            'bbox': [float(side) for side in run_lengths.toBbox(mask)],
        }
    return mask_record(np.asarray(mask.cpu() if hasattr(mask, 'cpu') else mask, bool))
