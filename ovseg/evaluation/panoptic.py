"""The metric of panoptic segmentation: PQ, SQ and RQ as images come, files on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from ovseg.errors import UserError
from ovseg.evaluation.class_groups import chosen_classes, label_chosen, number_or_none
from ovseg.evaluation.output_names import names_of_outputs
from ovseg.evaluation.panoptic_files import PanopticRecords
from ovseg.evaluation.panoptic_quality import SegmentCounts, count_segments, mean_qualities
from ovseg.registry import METRICS
from ovseg.visualization.panoptic_png import save_panoptic_png


@dataclass(frozen=True, eq=False)
class PanopticReport:
    """What an evaluation of segments found, with full precision.

    Attributes:
        scores: in percent, by name: ``PQ``, ``SQ``, ``RQ``, the same of things, of stuff and of
            each group (``PQ_things``, ``PQ_stuff``, ``PQ_unseen``); NaN where no class occurs.
        classes: names, in label order.
        is_thing: of each class.
        counts: with a row for each class.
        images: how many images were counted.
        headline: the score that the protocol reports.
    """

    scores: dict[str, float]
    classes: tuple[str, ...]
    is_thing: tuple[bool, ...]
    counts: SegmentCounts
    images: int
    headline: str = 'PQ'

    def table(self) -> str:
        """A line a class: PQ, SQ, RQ in percent, matched, invented and missed segments."""
        table = PrettyTable(['Class', 'Kind', 'PQ', 'SQ', 'RQ', 'TP', 'FP', 'FN'])
        table.align = 'r'
        table.align['Class'] = table.align['Kind'] = 'l'
        for row in self.rows():
            numbers = ('-' if row[key] is None else f'{row[key]:.2f}' for key in ('PQ', 'SQ', 'RQ'))
            kind = 'thing' if row['thing'] else 'stuff'
            table.add_row([row['name'], kind, *numbers, row['TP'], row['FP'], row['FN']])
        return table.get_string()

    def rows(self) -> list[dict[str, Any]]:
        """One record a class, in percent; None for a class that does not occur."""
        found, counts = 100 * self.counts.qualities, self.counts
        return [
            {
                'name': name,
                'thing': is_thing,
                **{
                    key: number_or_none(float(found[row, label]))
                    for row, key in enumerate(('PQ', 'SQ', 'RQ'))
                },
                'TP': int(counts.matched[label]),
                'FP': int(counts.invented[label]),
                'FN': int(counts.missed[label]),
            }
            for label, (name, is_thing) in enumerate(zip(self.classes, self.is_thing, strict=True))
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
class PanopticQualityMetric(BaseMetric):
    """Panoptic quality with the numbers of panopticapi, from segments in memory.

    Nothing is written unless asked for. Of an image only the counts of the classes that occur in it
    are kept, some hundred bytes; mmengine gathers them from all processes without the images that
    a sampler repeats, and they are summed in the order of the data set, so the scores do not
    depend on the number of processes.

    Args:
        groups: class names by group, such as ``seen`` and ``unseen``; each gets scores of its own.
        output_dir: save segments here in COCO's panoptic format: PNG files as the images are called
            and ``panoptic.json``, with the data set's own category ids and image ids.
        prefix: of the names of the scores, as in mmengine.
        collect_device: as in mmengine.

    Attributes:
        report: after the evaluation, a :class:`PanopticReport`.

    Raises:
        UserError: a sample without annotation or segments, or of another size than its annotation;
            a group with a name that is no class.

    Source: Panoptic Segmentation (arXiv 1801.00868), section 4; panopticapi, evaluation.py.
    """

    # Scores go by their own names; mmengine warns where this is None.
    default_prefix = ''

    def __init__(
        self,
        groups: Mapping[str, Sequence[str]] | None = None,
        output_dir: str | None = None,
        prefix: str | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.groups = {name: list(members) for name, members in (groups or {}).items()}
        self.output_dir = output_dir
        self.report: PanopticReport | None = None
        self._names: dict[str, Path] = {}

    def name_outputs(self, dataset: Any) -> None:
        """Decide where id maps go, before the first image; folders of the images are kept.

        Args:
            dataset: what will be evaluated.

        Raises:
            UserError: ``output_dir`` is a folder of the data set.
        """
        if self.output_dir is not None:
            self._names = names_of_outputs(dataset, self.output_dir, '--out')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts, and if asked for saves, the segments of a batch.

        Args:
            data_batch: unused.
            data_samples: with ``pred_segments`` (:class:`~ovseg.regions.mask_segments.Segments`)
                and ``panoptic_truth`` (:class:`~ovseg.datasets.panoptic_truth.PanopticTruth`).
        """
        for sample in data_samples:
            found, truth = (
                of_sample(sample, key, type(self).__name__)
                for key in ('pred_segments', 'panoptic_truth')
            )
            ids = found.ids.cpu().numpy()
            labels = {segment.id: segment.label for segment in found.segments}
            try:
                counts = count_segments(ids, labels, truth)
            except ValueError as error:
                raise UserError(f'{sample.get("img_path", "an image")}: {error}') from None
            record = self._save(ids, found, sample) if self.output_dir is not None else None
            self.results.append((counts, record))

    def _save(self, ids: np.ndarray, found: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
        assert self.output_dir is not None  # else nothing is saved
        source = str(sample.get('img_path', ''))
        path = self._names.get(source, Path(self.output_dir) / f'{Path(source).stem}.png')
        save_panoptic_png(ids, path)
        records = PanopticRecords(self.dataset_meta or {})
        return records.of_image(
            sample.get('img_id', Path(source).stem),
            path.relative_to(self.output_dir).as_posix(),
            Path(source).name,
            ids.shape,
            found.segments,
        )

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """The scores in percent, rounded to 2 digits.

        Args:
            results: counts of each image, and what its file holds.
        """
        meta = self.dataset_meta or {}
        classes = tuple(meta.get('classes') or ())
        things = set(meta.get('thing_classes') or ())
        is_thing = np.array([name in things for name in classes], bool)
        counts = SegmentCounts.total([each for each, _ in results], len(classes))
        scores = mean_qualities(counts)
        parts = {
            'things': is_thing,
            'stuff': ~is_thing,
            **{
                group: chosen_classes(members, classes, group)
                for group, members in self.groups.items()
            },
        }
        for part, chosen in parts.items():
            scores.update(label_chosen(mean_qualities(counts, chosen), part))
        self.report = PanopticReport(
            scores, classes, tuple(map(bool, is_thing)), counts, len(results)
        )
        if self.output_dir is not None:
            PanopticRecords(meta).write([each for _, each in results], self.output_dir)
        if is_main_process():
            log = MMLogger.get_current_instance()
            log.info(f'panoptic quality by class:\n{self.report.table()}')
        return {name: round(value, 2) for name, value in scores.items()}


def of_sample(sample: Mapping[str, Any], key: str, metric: str) -> Any:
    """The predicted segments of a sample, or its annotation.

    Args:
        sample: as mmengine hands it to a metric.
        key: ``'pred_segments'`` or ``'panoptic_truth'``.
        metric: that asks, for the message.

    Raises:
        UserError: the sample has no such thing.
    """
    if sample.get(key) is None:
        what, remedy = _MISSING[key]
        raise UserError(
            f'{sample.get("img_path", "an image")} has no {what}, which {metric} compares: '
            f'{remedy} (docs/panoptic.md)'
        )
    return sample[key]


_MISSING = {
    'pred_segments': (
        'segments',
        'test a model that finds segments on a panoptic data set',
    ),
    'panoptic_truth': (
        'panoptic annotation',
        "add 'panoptic_truth' to the packer's meta_keys, or test on a panoptic data set",
    ),
}
