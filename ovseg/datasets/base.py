"""What all label-map data sets of ovseg share: checks at the door, ignore value, resize rule."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
from mmengine import fileio

from ovseg.datasets.checked import CheckedDataset
from ovseg.datasets.label_orientation import DrawnOn, check_drawn_on
from ovseg.datasets.originals import pipeline_with_original
from ovseg.errors import UserError
from ovseg.folders import walk_files
from ovseg.images.pipeline import LOADERS, Step, name_of_step, pipeline_with_resize
from ovseg.line_lists import EmptyList, lines_of, without_suffix

_LABEL_LOADERS = ('LoadSegLabels', 'LoadAnnotations')


def pipeline_with_suppression(
    pipeline: Sequence[Step], classes: Sequence[int] | str | None
) -> list[Step]:
    """The pipeline with a step that holds labels back, right after they are loaded.

    Args:
        pipeline: steps as in a config.
        classes: of ``SuppressLabels``: class numbers or ``'all'``; None for no such step.

    Raises:
        ValueError: classes, but no step that loads labels.
    """
    steps = list(pipeline)
    if classes is None:
        return steps
    for position, step in enumerate(steps):
        if name_of_step(step) in _LABEL_LOADERS:
            rule = {'type': 'SuppressLabels', 'classes': classes}
            return [*steps[: position + 1], rule, *steps[position + 1 :]]
    raise ValueError(
        f'suppress_labels needs a pipeline with one of {", ".join(_LABEL_LOADERS)} to follow'
    )


class LabelMapDataset(CheckedDataset):
    """mmseg's ``BaseSegDataset`` for the benchmarks of open-vocabulary segmentation.

    Differences: the folders are checked when the data set is built and what is missing is said in
    one sentence; ``METAINFO['ignore_index']`` is the one ignore value of the loader and the metric
    (255, or 65535 where there are more than 255 classes), also for classes left out by
    ``metainfo``; and ``resize`` puts the protocol's resize rule into the pipeline.

    The rule has a keyword of its own because a config can override one key of a base file but not
    one step of its pipeline: ``test_dataloader = dict(dataset=dict(resize=resize))`` with the
    config's ``resize = dict(scale=(520, 520), keep_ratio=True)`` is all that a protocol has to say.

    Args:
        ann_file: list of image names, with or without their suffix, one a line; empty for all
            images of the folder and of the folders in it.
        pipeline: steps as in mmseg.
        resize: the resize rule (``ovseg.images.ResizeRule``), or None to keep the images' size.
        suppress_labels: classes whose labels are held back in training (``SuppressLabels``):
            numbers, or 'all'; None for none.
        keep_original: hand the image on at its own size, too; for models with a second encoder
            that wants it (:mod:`ovseg.datasets.originals`).
        labels_drawn_on: what the label maps of pictures with an EXIF orientation were drawn on,
            ``'upright'`` or ``'stored'`` pixels (:mod:`ovseg.datasets.label_orientation`).
        kwargs: as in ``BaseSegDataset``; ``filter_cfg`` and ``ignore_index`` are refused.

    Raises:
        FileNotFoundError: a missing or empty folder, a missing list, images without labels.
        UserError: see :class:`CheckedDataset`.
    """

    UNREAD: ClassVar[dict[str, str]] = {
        'ignore_index': "the label that does not count is the class's own, METAINFO['ignore_index']"
    }

    METAINFO: ClassVar[dict[str, Any]] = {}
    IMG_SUFFIX: ClassVar[str] = '.jpg'
    SEG_MAP_SUFFIX: ClassVar[str] = '.png'
    REDUCE_ZERO_LABEL: ClassVar[bool] = False
    # Values in the label files that mean "no class here".
    IGNORED_LABELS: ClassVar[tuple[int, ...]] = (255,)

    def __init__(
        self,
        ann_file: str = '',
        pipeline: Sequence[Step] = (),
        resize: dict[str, Any] | None = None,
        suppress_labels: Sequence[int] | str | None = None,
        keep_original: bool = False,
        labels_drawn_on: DrawnOn = 'upright',
        **kwargs: Any,
    ) -> None:
        check_drawn_on(labels_drawn_on, type(self).__name__)
        self.resize = resize
        self.labels_drawn_on = labels_drawn_on
        steps = pipeline_with_suppression(pipeline, suppress_labels)
        steps = pipeline_with_resize(steps, resize)
        defaults = {
            'img_suffix': self.IMG_SUFFIX,
            'seg_map_suffix': self.SEG_MAP_SUFFIX,
            'reduce_zero_label': self.REDUCE_ZERO_LABEL,
        }
        super().__init__(
            ann_file=ann_file or '',
            pipeline=pipeline_with_original(steps, keep_original, LOADERS),
            **{**defaults, **kwargs},
        )

    def _decided(self) -> dict[str, Any]:
        if 'ignore_index' not in self.METAINFO:
            raise UserError(
                f"{type(self).__name__}.METAINFO has no 'ignore_index'; say which label it is"
            )
        return {'ignore_index': self.METAINFO['ignore_index']}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Samples with the label rule of the data set, after everything they name was found.

        Raises:
            FileNotFoundError: see the class.
        """
        on_disk = not self.backend_args
        if on_disk:
            self._check_folders()
        samples = self._listed() if self.ann_file or on_disk else super().load_data_list()
        if on_disk:
            self._check_files(samples)
        count = len(self.METAINFO['classes']) + bool(self.reduce_zero_label)
        for sample in samples:
            sample['ignore_index'] = self.ignore_index
            sample['ignored_labels'] = self.IGNORED_LABELS
            sample['num_label_values'] = count
            sample['labels_drawn_on'] = self.labels_drawn_on
        return samples

    def _listed(self) -> list[dict[str, Any]]:
        """The samples of the list, or of all images of the folder in the order of their paths."""
        images = self.data_prefix.get('img_path') or ''
        labels = self.data_prefix.get('seg_map_path')
        if self.ann_file:
            content = fileio.get(self.ann_file, backend_args=self.backend_args)
            try:
                lines = lines_of(content, self.ann_file, 'images')
            except EmptyList as error:
                raise self._missing('no image names', self.ann_file) from error
            names = without_suffix(lines, self.img_suffix)
        else:
            found = sorted(
                path for path in map(str, walk_files(images)) if path.endswith(self.img_suffix)
            )
            if not found:
                raise self._missing(f'no image *{self.img_suffix}', images)
            names = [os.path.relpath(path, images).removesuffix(self.img_suffix) for path in found]
        samples = []
        for name in names:
            sample = {
                'img_path': os.path.join(images, name + self.img_suffix),
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            if labels is not None:
                sample['seg_map_path'] = os.path.join(labels, name + self.seg_map_suffix)
            samples.append(sample)
        return samples

    def prepare_data(self, idx: int) -> Any:
        """The sample after its pipeline.

        Raises:
            UserError: the image file is empty; OpenCV's own error would not name it.
        """
        try:
            return super().prepare_data(idx)
        except cv2.error as error:
            path = self.get_data_info(idx).get('img_path')
            if path and os.path.isfile(path) and not os.path.getsize(path):
                raise UserError(f'the image {path} is an empty file; get it again') from error
            raise

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Old to new label index for a subset or another order of the classes, else None.

        Raises:
            UserError: a class that the data set does not have.
        """
        classes = list(cls.METAINFO['classes'])
        if new_classes is None or list(new_classes) == classes:
            return None
        unknown = [name for name in new_classes if name not in classes]
        if unknown:
            raise UserError(
                f'{cls.__name__} has no class {unknown[0]!r}: metainfo may only choose and order '
                f'its {len(classes)} classes'
            )
        position = {name: index for index, name in enumerate(new_classes)}
        left_out = cls.METAINFO['ignore_index']
        return {old: position.get(name, left_out) for old, name in enumerate(classes)}

    def _update_palette(self) -> list:
        """Colours in the order of the classes that are used."""
        if self._metainfo['palette'] != self.METAINFO['palette']:
            return self._metainfo['palette']
        color = dict(zip(self.METAINFO['classes'], self.METAINFO['palette'], strict=True))
        return [color[name] for name in self._metainfo['classes']]

    def _check_folders(self) -> None:
        image_folder = self.data_prefix.get('img_path')
        wanted = [('images', image_folder), ('labels', self.data_prefix.get('seg_map_path'))]
        for content, folder in wanted:
            if folder and not os.path.isdir(folder):
                raise self._missing(f'no folder of {content}', folder)
        if self.ann_file and not os.path.isfile(self.ann_file):
            raise self._missing('no list of images', self.ann_file)
        if not image_folder:
            raise UserError(
                f'{type(self).__name__} has no folder of images; set data_prefix.img_path'
            )

    def _check_files(self, samples: Sequence[dict[str, Any]]) -> None:
        listing: dict[str, set[str]] = {}
        for key, content in (('img_path', 'image'), ('seg_map_path', 'label file')):
            absent = [s[key] for s in samples if key in s and not _is_listed(s[key], listing)]
            if absent:
                raise self._missing(
                    f'{len(absent)} of {len(samples)} images have no {content}, the first',
                    absent[0],
                )


def _is_listed(path: str, listing: dict[str, set[str]]) -> bool:
    """Whether the regular file exists; each folder is read once, which is quick for thousands."""
    folder, name = os.path.split(path)
    if folder not in listing:
        listing[folder] = set()
        if os.path.isdir(folder):
            with os.scandir(folder) as entries:
                listing[folder] = {
                    entry.name
                    for entry in entries
                    if entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)
                }
    return name in listing[folder]
