"""The metric of semantic segmentation: exact counts, every common mean, label maps on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable
from torch import Tensor

from ovseg.errors import UserError
from ovseg.evaluation.areas import (
    MATRIX_CLASSES,
    Areas,
    confusion_matrix,
    count_areas,
    summarise,
)
from ovseg.evaluation.class_groups import chosen_classes, number_or_none
from ovseg.evaluation.output_names import names_of_outputs
from ovseg.files import written_whole
from ovseg.registry import METRICS
from ovseg.visualization.label_png import save_label_png

Headline = Literal['mIoU', 'mIoU_present']


@dataclass(frozen=True)
class IoUReport:
    """What an evaluation found, with full precision.

    Attributes:
        scores: in percent, by name; see :func:`~ovseg.evaluation.areas.summarise`.
        classes: names, in label order.
        areas: pixel counts of each class.
        images: how many images were counted.
        headline: the score that the protocol reports.
    """

    scores: dict[str, float]
    classes: tuple[str, ...]
    areas: Areas
    images: int
    headline: str

    def table(self) -> str:
        """Class, IoU, accuracy and share of the labelled pixels, in percent, as text."""
        table = PrettyTable(['Class', 'IoU', 'Acc', 'Share'])
        table.align = 'r'
        table.align['Class'] = 'l'
        for row in self.rows():
            numbers = [row['IoU'], row['Acc'], row['share']]
            table.add_row([row['name'], *('-' if n is None else f'{n:.2f}' for n in numbers)])
        return table.get_string()

    def rows(self) -> list[dict[str, Any]]:
        """One record a class, in percent; None where a number has no meaning."""
        share = self.areas.label.double() / self.areas.label.sum().double()
        columns = [self.areas.iou, self.areas.accuracy, share]
        values = (100 * torch.stack(columns, dim=1)).tolist()
        return [
            {
                'name': name,
                'IoU': number_or_none(iou),
                'Acc': number_or_none(accuracy),
                'share': number_or_none(part),
            }
            for name, (iou, accuracy, part) in zip(self.classes, values, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN becomes None."""
        return {
            'metrics': {name: number_or_none(value) for name, value in self.scores.items()},
            'headline': self.headline,
            'images': self.images,
            'classes': self.rows(),
        }


@METRICS.register_module()
class OVIoUMetric(BaseMetric):
    """IoU over a data set, with the numbers of mmsegmentation's ``IoUMetric`` and some more.

    Pixels are counted as int64 on the predictions' device and summed over images as they come, so
    memory does not grow with the data set, and over processes without rounding. A sampler that
    repeats images to give every process equally many is taken into account: the repeated ones are
    not counted.

    Args:
        ignore_index: label that does not count; None for the data set's own, 255 if it names none.
        headline: the mean that the protocol reports; stands first in tables and files.
        groups: class names by group; each group gets a ``mIoU_<group>``, a mean of the headline's
            kind.
        output_dir: save predicted label maps here as PNG, 8-bit or, if there are more than 255
            values, 16-bit, in folders as the images (:meth:`name_outputs`). Where labels on disk
            start at 1 (``reduce_zero_label``), so do these.
        format_only: only save; labels are not needed and no scores computed.
        confusion_file: ``.npy`` file for the confusion matrix (K, K + 1), int64, see
            :func:`~ovseg.evaluation.areas.confusion_matrix`.
        prefix: of the names of the scores, as in mmengine.
        collect_device: unused, for mmengine's evaluator.
        iou_metrics: ``['mIoU']``, for configs that were written for ``IoUMetric``.

    Raises:
        UserError: settings that do not fit the data set; no pixel with a label; a prediction and
            its label differ in size; a label that is no class.
    """

    # Scores go by their own names; mmengine warns where this is None.
    default_prefix = ''

    def __init__(
        self,
        ignore_index: int | None = None,
        headline: Headline = 'mIoU',
        groups: Mapping[str, Sequence[str]] | None = None,
        output_dir: str | None = None,
        format_only: bool = False,
        confusion_file: str | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
        iou_metrics: Sequence[str] = ('mIoU',),
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if headline not in ('mIoU', 'mIoU_present'):
            raise UserError(f"headline must be 'mIoU' or 'mIoU_present', got {headline!r}")
        if list(iou_metrics) != ['mIoU']:
            raise UserError(
                f"OVIoUMetric computes ['mIoU'] and no {list(iou_metrics)}; use IoUMetric for these"
            )
        if format_only and output_dir is None:
            raise UserError('format_only saves label maps and needs output_dir (or --out DIR)')
        self.ignore_index = ignore_index
        self.headline: str = headline
        self.groups = {name: list(members) for name, members in (groups or {}).items()}
        self.output_dir = output_dir
        self.format_only = format_only
        self.confusion_file = confusion_file
        self.report: IoUReport | None = None
        self._names: dict[str, Path] = {}
        self._restart()

    def name_outputs(self, dataset: Any) -> None:
        """Decide where label maps go, before the first image; folders of the images are kept.

        Args:
            dataset: what will be evaluated.

        Raises:
            UserError: ``output_dir`` is a folder of the data set.
        """
        if self.output_dir is not None:
            self._names = names_of_outputs(dataset, self.output_dir, '--out')

    # Counting --------------------------------------------------------------------------------

    def _restart(self) -> None:
        self._total: Tensor | None = None
        # Apart from the total until it is known whether the sampler repeated an image.
        self._newest: Tensor | None = None
        self._seen = 0
        self._saved: dict[str, str] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts, and if asked for saves, the predictions of a batch.

        Args:
            data_batch: unused.
            data_samples: with ``pred_sem_seg`` and ``gt_sem_seg``, (1, H, W) each, and
                ``img_path``.
        """
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data']
            prediction = prediction.reshape(prediction.shape[-2:])
            if self.output_dir is not None:
                self._save(prediction, sample)
            if not self.format_only:
                self._count(prediction, sample)
            self._seen += 1

    def _count(self, prediction: Tensor, sample: Mapping[str, Any]) -> None:
        if 'gt_sem_seg' not in sample:
            raise UserError(
                f'{_name(sample)} has no labels to compare with; set format_only=True in the '
                'evaluator to save predictions only'
            )
        label = sample['gt_sem_seg']['data']
        label = label.reshape(label.shape[-2:])
        count = confusion_matrix if self._keeps_matrix else count_areas
        try:
            counts = count(prediction, label, self._num_classes, self._ignored)
        except ValueError as error:
            raise UserError(
                f'{_name(sample)}: {error}; check the data set and its config'
            ) from None
        if self._newest is not None:
            self._total = self._newest if self._total is None else self._total + self._newest
        self._newest = counts

    @property
    def _num_classes(self) -> int:
        return len(self._classes)

    @property
    def _classes(self) -> tuple[str, ...]:
        meta = self.dataset_meta
        if not meta or 'classes' not in meta:
            raise UserError('the data set names no classes (metainfo), so IoU cannot be computed')
        return tuple(meta['classes'])

    @property
    def _ignored(self) -> int:
        if self.ignore_index is not None:
            return self.ignore_index
        return (self.dataset_meta or {}).get('ignore_index', 255)

    @property
    def _keeps_matrix(self) -> bool:
        return self.confusion_file is not None or self._num_classes <= MATRIX_CLASSES

    # Summing up ------------------------------------------------------------------------------

    def evaluate(self, size: int) -> dict[str, float]:
        """Sums over all processes and returns the scores, in percent, rounded to 2 digits.

        Args:
            size: how many images the data set has.

        Raises:
            RuntimeError: the processes together saw another number of images.
        """
        if self.format_only:
            self._restart()
            self._log(f'label maps are in {self.output_dir}')
            return {}
        counts, images = self._sum_of_processes(size)
        self._restart()
        if images != size:
            raise RuntimeError(f'{images} images were evaluated, but the data set has {size}')
        metrics = self._finish(counts, images)
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {prefix + name: value for name, value in metrics.items()}

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The rounded scores of images counted one by one.

        Args:
            results: a confusion matrix, or the counts of
                :func:`~ovseg.evaluation.areas.count_areas`, for each image.
        """
        return self._finish(torch.stack(results).sum(0), len(results))

    def _finish(self, counts: Tensor, images: int) -> dict[str, float]:
        areas = Areas.of_matrix(counts) if self._keeps_matrix else Areas(*counts)
        if images and not areas.label.sum():
            raise UserError(no_labels(images, self._ignored))
        scores = summarise(areas)
        scores.update(self._group_scores(areas))
        self.report = IoUReport(scores, self._classes, areas, images, self.headline)
        self._log(f'per class results:\n{self.report.table()}')
        if self.confusion_file is not None and is_main_process():
            with written_whole(self.confusion_file) as path, open(path, 'wb') as file:
                np.save(file, counts.numpy())
        return {name: round(value, 2) for name, value in scores.items()}

    def _sum_of_processes(self, size: int) -> tuple[Tensor, int]:
        counts, seen = self._total, self._seen
        # The sampler deals images out in turn, image i * world + rank as the i-th of a process,
        # and repeats the first ones at the end if they do not come out even.
        newest_is_repeated = seen > 0 and (seen - 1) * get_world_size() + get_rank() >= size
        if newest_is_repeated:
            seen -= 1
        elif self._newest is not None:
            counts = self._newest if counts is None else counts + self._newest
        if counts is None:
            shape = (self._num_classes, self._num_classes + 1)
            shape = shape if self._keeps_matrix else (3, self._num_classes)
            counts = torch.zeros(shape, dtype=torch.int64)
        counts, images = counts.cpu(), torch.tensor(seen)
        all_reduce(counts)
        all_reduce(images)
        return counts, int(images)

    def _group_scores(self, areas: Areas) -> dict[str, float]:
        scores = {}
        for group, members in self.groups.items():
            index = torch.from_numpy(chosen_classes(members, self._classes, group))
            scores[f'mIoU_{group}'] = 100 * float(self._counted(areas)[index].nanmean())
        return scores

    def _counted(self, areas: Areas) -> Tensor:
        """(K,) IoU, NaN for classes that the mean of the headline leaves out."""
        if self.headline == 'mIoU':
            return areas.iou
        return areas.iou.where(areas.label > 0, float('nan'))

    def _log(self, text: str) -> None:
        if is_main_process():
            MMLogger.get_current_instance().info(text)

    # Saving ----------------------------------------------------------------------------------

    def _save(self, prediction: Tensor, sample: Mapping[str, Any]) -> None:
        path = self._place_of(str(sample['img_path']))
        labels, palette = prediction.cpu().numpy(), list(self.dataset_meta.get('palette') or [])
        if sample.get('reduce_zero_label', False):
            labels, palette = labels + 1, [(0, 0, 0), *palette]
        if self._num_classes > 255:
            # One depth for the whole set, also where an image shows low labels only.
            palette = [(0, 0, 0)] * 257
        save_label_png(labels, palette, path)

    def _place_of(self, source: str) -> Path:
        """Where the label map of an image goes: as planned, else by its name alone."""
        if source in self._names:
            return self._names[source]
        assert self.output_dir is not None  # else nothing is saved
        stem = Path(source).stem
        if self._saved.setdefault(stem, source) != source:
            raise UserError(
                f'{source} and {self._saved[stem]} would both be saved as {stem}.png in '
                f'{self.output_dir}; evaluate the folders apart'
            )
        return Path(self.output_dir) / f'{stem}.png'


def no_labels(images: int, ignored: int) -> str:
    """What to say where there is nothing to compare predictions with.

    Args:
        images: how many were looked at.
        ignored: the label that does not count.
    """
    return (
        f'no pixel of the {images} label maps has a class, all are {ignored} (no class), so there '
        'is no score; check which values the label maps hold, and label_values, reduce_zero_label '
        'or the classes of the data set'
    )


def _name(sample: Mapping[str, Any]) -> str:
    return str(sample.get('img_path', 'an image'))
