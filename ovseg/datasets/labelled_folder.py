"""Images and label maps of your own, as a data set to train and test on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ovseg.datasets.image_folder import ImageFolderDataset
from ovseg.datasets.label_orientation import DrawnOn, check_drawn_on
from ovseg.errors import UserError
from ovseg.registry import DATASETS


@DATASETS.register_module()
class LabelledFolderDataset(ImageFolderDataset):
    """All images below one folder, with a label map for each at the same place below another.

    The label map of ``a/photo.jpg`` is ``a/photo.png``: one number a pixel, that of the class in
    ``metainfo``, 255 for pixels without a class. Where label maps lie in the folder of images or
    below it, they are no images.

    Args:
        data_root: the folder of both folders.
        data_prefix: ``dict(img_path=..., seg_map_path=...)``: the two folders below it.
        metainfo: ``dict(classes=[...])``: the names in label order, or a file with one a line;
            ``palette`` if you like.
        seg_map_suffix: how the names of label maps end, such as ``'_mask.png'``.
        ignore_index: label of pixels without a class.
        labels_drawn_on: what the label maps of pictures with an EXIF orientation were drawn on,
            ``'upright'`` or ``'stored'`` pixels (:mod:`ovseg.datasets.label_orientation`).
        label_values: which number in the label maps each class has, such as ``[0, 255]`` for masks
            in black and white; None for 0, 1, 2, ... A number that is in the list is a class, 255
            too; any other but 255 is an error.
        settings: see :class:`ImageFolderDataset`; ``reduce_zero_label`` as in ``BaseSegDataset``.

    Raises:
        FileNotFoundError: no such folder, no image in it, or an image without a label map.
        UserError: no names, more than label maps of 8 bits can hold, not a value for each, or two
            images that take one label map: equal names with different suffixes.
    """

    UNREAD: ClassVar[Mapping[str, str]] = {
        name: instead
        for name, instead in ImageFolderDataset.UNREAD.items()
        if name in ('img_suffix', 'backend_args')
    }
    FOLDERS: ClassVar[tuple[str, ...]] = ('img_path', 'seg_map_path')

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str],
        metainfo: dict[str, Any] | None = None,
        label_values: Sequence[int] | None = None,
        seg_map_suffix: str = '.png',
        ignore_index: int = 255,
        labels_drawn_on: DrawnOn = 'upright',
        **settings: Any,
    ) -> None:
        name = type(self).__name__
        check_drawn_on(labels_drawn_on, name)
        self.labels_drawn_on = labels_drawn_on
        classes = self._load_metainfo(metainfo).get('classes') or []
        if not classes:
            raise UserError(
                f'{name} has no class names; set metainfo=dict(classes=[...]) in label order'
            )
        if len(classes) > 255:
            raise UserError(f'{name} takes at most 255 classes, got {len(classes)}')
        if not data_prefix.get('seg_map_path'):
            raise UserError(f'{name} has no folder of label maps; set data_prefix.seg_map_path')
        values = None if label_values is None else [int(value) for value in label_values]
        if values is not None and (len(values) != len(classes) or len(set(values)) < len(values)):
            raise UserError(
                f'{name}.label_values is {values}; give one number for each of the '
                f'{len(classes)} classes, all different'
            )
        if values is not None and settings.get('reduce_zero_label'):
            raise UserError(f'{name} takes label_values or reduce_zero_label, not both')
        self.label_values = values
        super().__init__(
            data_root,
            data_prefix,
            metainfo={**(metainfo or {}), 'classes': classes},
            seg_map_suffix=seg_map_suffix,
            ignore_index=ignore_index,
            **settings,
        )
        # Where the metric looks for it.
        self._metainfo['ignore_index'] = ignore_index

    def load_data_list(self) -> list[dict[str, Any]]:
        """One sample an image.

        Raises:
            FileNotFoundError: see the class.
            UserError: likewise.
        """
        samples = super().load_data_list()
        count = len(self.metainfo['classes']) + bool(self.reduce_zero_label)
        for sample in samples:
            sample['seg_map_path'] = self._label_map_of(sample['img_path'])
            sample['ignore_index'] = self.ignore_index
            sample['num_label_values'] = count
            sample['labels_drawn_on'] = self.labels_drawn_on
            if self.label_values is not None:
                sample['label_values'] = self.label_values
        self._refuse_shared(samples)
        absent = [sample for sample in samples if not os.path.isfile(sample['seg_map_path'])]
        if absent:
            image, wanted = absent[0]['img_path'], os.path.abspath(absent[0]['seg_map_path'])
            raise FileNotFoundError(
                f'{type(self).__name__}: {len(absent)} of {len(samples)} images have no label map; '
                f'the first is {image}, which needs {wanted}'
            )
        return samples

    def _label_map_of(self, image: str) -> str:
        folder = self.data_prefix['img_path'] or self.data_root
        place = os.path.splitext(os.path.relpath(image, folder))[0]
        return os.path.join(self.data_prefix['seg_map_path'], place + self.seg_map_suffix)

    def _images_of(self, paths: list[str]) -> list[str]:
        """Without the label maps, which may lie beside or below the images."""
        images = os.path.realpath(self.data_prefix['img_path'] or self.data_root)
        labels = os.path.realpath(self.data_prefix['seg_map_path'])
        if labels.startswith(os.path.join(images, '')):
            inside = os.path.join(labels, '')
            return [path for path in paths if not os.path.realpath(path).startswith(inside)]
        if labels != images:
            return paths
        places = [
            (os.path.normpath(path), os.path.normpath(self._label_map_of(path))) for path in paths
        ]
        maps = {labels for image, labels in places if labels != image}
        return [path for path in paths if os.path.normpath(path) not in maps]

    def _refuse_shared(self, samples: list[dict[str, Any]]) -> None:
        """Stops where two images take one label map: it can be right for one of them only."""
        first: dict[str, str] = {}
        shared: list[tuple[str, str, str]] = []
        for sample in samples:
            image, labels = sample['img_path'], sample['seg_map_path']
            other = first.setdefault(labels, image)
            if other != image:
                shared.append((other, image, labels))
        if shared:
            one, other, labels = shared[0]
            raise UserError(
                f'{type(self).__name__}: {one} and {other} both take the label map {labels} '
                f'({len(shared)} such pairs); take one of them out, set suffixes to those of your '
                'images, or list the images (ann_file)'
            )
