"""Data sets of things and stuff in COCO's panoptic format: a JSON file, and a PNG file an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from ovseg.datasets.checked import CheckedDataset
from ovseg.datasets.originals import pipeline_with_original
from ovseg.datasets.panoptic_files import AnnotatedImage, PanopticFile, read_panoptic_file
from ovseg.errors import UserError
from ovseg.images.pipeline import LOADERS, Step, pipeline_with_resize
from ovseg.registry import DATASETS
from ovseg.vocabulary import make_palette


@DATASETS.register_module()
class PanopticDataset(CheckedDataset):
    """Images whose pixels belong to segments: each thing has its own, a stuff has one an image.

    Classes, and which of them are things, are those of the annotation file, in its order; sets of
    published protocols are derived from this class and fix them. ``metainfo=dict(classes=...)``
    chooses and orders classes; segments of the others are then as if nobody had annotated them.

    Args:
        ann_file: the JSON file, below ``data_root``.
        pipeline: steps as in mmseg, ``LoadPanopticMap`` among them.
        resize: the resize rule (``ovseg.images.ResizeRule``), or None to keep the images' size.
        keep_original: hand the image on at its own size, too.
        kwargs: as in ``BaseSegDataset``; ``data_prefix`` names ``img_path`` and ``seg_map_path``.

    Raises:
        FileNotFoundError: no annotation file; images or id maps that are not there.
        UserError: see :class:`CheckedDataset`; an annotation file that is none, or with other
            categories than the data set has.
    """

    UNREAD: ClassVar[dict[str, str]] = {
        **dict.fromkeys(('img_suffix', 'seg_map_suffix'), 'the annotation file names the files'),
        **dict.fromkeys(
            ('ignore_index', 'reduce_zero_label'), 'classes are those of the annotation file'
        ),
    }
    # Of a set that fixes its classes also: classes, palette, and the file's id of each class.
    METAINFO: ClassVar[dict[str, Any]] = {'thing_classes': (), 'category_ids': ()}

    def __init__(
        self,
        ann_file: str = '',
        pipeline: Sequence[Step] = (),
        resize: dict[str, Any] | None = None,
        keep_original: bool = False,
        metainfo: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not ann_file:
            raise UserError(
                f'{type(self).__name__}.ann_file must name the JSON file of the segments'
            )
        self.resize = resize
        self._file: PanopticFile | None = None
        self._known = self.METAINFO
        if 'classes' not in self.METAINFO:
            place = os.path.join(kwargs.get('data_root') or '', ann_file)
            self._known = self._facts_of(place)
        super().__init__(
            ann_file=ann_file,
            pipeline=pipeline_with_original(
                pipeline_with_resize(pipeline, resize), keep_original, LOADERS
            ),
            metainfo=self._chosen(metainfo),
            **kwargs,
        )

    # Classes ---------------------------------------------------------------------------------

    @staticmethod
    def read_file(path: str) -> PanopticFile:
        """What an annotation file holds."""
        return read_panoptic_file(path)

    def _facts_of(self, path: str) -> dict[str, Any]:
        """Classes of an annotation file."""
        self._file = self.read_file(path)
        categories = self._file.categories
        return {
            'classes': tuple(category.name for category in categories),
            'palette': make_palette(len(categories)),
            'thing_classes': tuple(c.name for c in categories if c.is_thing),
            'category_ids': tuple(category.id for category in categories),
        }

    def _chosen(self, metainfo: dict[str, Any] | None) -> dict[str, Any]:
        """The facts of the classes that a config chooses."""
        known = self._known
        if metainfo is not None and not isinstance(metainfo, dict):
            return metainfo  # refused by the base, which says how it is written
        given = dict(metainfo or {})
        if isinstance(given.get('classes'), str):
            given['classes'] = self._load_metainfo({'classes': given['classes']})['classes']
        wanted = list(given.get('classes') or known['classes'])
        ids = dict(zip(known['classes'], known['category_ids'], strict=True))
        colors = dict(zip(known['classes'], known['palette'], strict=True))
        unknown = [name for name in wanted if name not in ids]
        if unknown:
            raise UserError(
                f'{type(self).__name__} has no class {unknown[0]!r}: metainfo may only choose and '
                f'order its {len(ids)} classes'
            )
        own = {
            'classes': tuple(wanted),
            'palette': [colors[name] for name in wanted],
            'thing_classes': tuple(name for name in known['thing_classes'] if name in wanted),
            'category_ids': tuple(ids[name] for name in wanted),
        }
        return {**own, **{key: value for key, value in given.items() if key != 'classes'}}

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """None: the category ids of the chosen classes say which label a segment has."""
        return None

    def _update_palette(self) -> list:
        return list(self._metainfo['palette'])

    # Samples ---------------------------------------------------------------------------------

    def load_data_list(self) -> list[dict[str, Any]]:
        """A sample an annotated image, after everything they name was found.

        Raises:
            FileNotFoundError: see the class.
            UserError: see the class.
        """
        try:
            content = self._file or self.read_file(self.ann_file)
        except FileNotFoundError as error:
            raise self._missing('no annotation file', self.ann_file) from error
        self._file = None  # the samples hold what is needed of it
        self._check_categories(content)
        names, ids = self._metainfo['classes'], self._metainfo['category_ids']
        label_of = {number: label for label, number in enumerate(ids)}
        things = set(self._metainfo['thing_classes'])
        stuff = tuple(label for label, name in enumerate(names) if name not in things)
        samples = [self._sample(image, label_of, stuff) for image in content.images]
        if not self.backend_args:
            self._check_files(samples)
        return samples

    def _sample(
        self, image: AnnotatedImage, label_of: dict[int, int], stuff: tuple[int, ...]
    ) -> dict[str, Any]:
        return {
            'img_path': os.path.join(
                self.data_prefix.get('img_path') or '', self.image_name(image)
            ),
            'seg_map_path': os.path.join(
                self.data_prefix.get('seg_map_path') or '', image.map_name
            ),
            'img_id': image.id,
            'segments': [
                (number, label_of[category], area, crowd)
                for number, category, area, crowd in image.segments
                if category in label_of
            ],
            'stuff_labels': stuff,
            'label_map': None,
            'reduce_zero_label': False,
            'seg_fields': [],
        }

    def image_name(self, image: AnnotatedImage) -> str:
        """Where an image is below the folder of images."""
        return image.file_name

    def _check_categories(self, content: PanopticFile) -> None:
        """Stops at a file of another data set, whose numbers would mean other classes."""
        found = {category.id: category.is_thing for category in content.categories}
        known = self._known
        things = set(known['thing_classes'])
        for name, number in zip(known['classes'], known['category_ids'], strict=True):
            if number not in found:
                raise UserError(
                    f'{self.ann_file} has no category {number}, which is {name!r} in '
                    f'{type(self).__name__}: it belongs to another data set'
                )
            if found[number] != (name in things):
                kinds = ('a thing', 'a stuff') if found[number] else ('a stuff', 'a thing')
                raise UserError(
                    f'{self.ann_file} says that category {number} is {kinds[0]}, but {name!r} is '
                    f'{kinds[1]} in {type(self).__name__}: it belongs to another data set'
                )

    def _check_files(self, samples: Sequence[dict[str, Any]]) -> None:
        for key, content in (('img_path', 'image'), ('seg_map_path', 'panoptic map')):
            folder = self.data_prefix.get(key)
            if folder and not os.path.isdir(folder):
                raise self._missing(f'no folder of {content}s', folder)
            paths = [sample[key] for sample in samples if key in sample]
            absent = [path for path in paths if not os.path.isfile(path)]
            if absent:
                raise self._missing(
                    f'{len(absent)} of {len(samples)} images have no {content}, the first',
                    absent[0],
                )
