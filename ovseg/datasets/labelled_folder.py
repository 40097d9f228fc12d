"""Images and label maps of your own, as a data set to train and test on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovseg.datasets.image_folder import ImageFolderDataset
from ovseg.errors import UserError
from ovseg.registry import DATASETS


@DATASETS.register_module()
class LabelledFolderDataset(ImageFolderDataset):
    """All images below one folder, with a label map for each at the same place below another.

    The label map of ``a/photo.jpg`` is ``a/photo.png``: one number a pixel, that of the class in
    ``metainfo``, 255 for pixels without a class.

    Args:
        data_root: the folder of both folders.
        data_prefix: ``dict(img_path=..., seg_map_path=...)``: the two folders below it.
        metainfo: ``dict(classes=[...])``: the names in label order; ``palette`` if you like.
        label_values: which number in the label maps each class has, such as ``[0, 255]`` for masks
            in black and white; None for 0, 1, 2, ... A number that is in the list is a class, 255
            too; any other but 255 is an error.
        settings: see :class:`ImageFolderDataset`; ``reduce_zero_label`` as in ``BaseSegDataset``.

    Raises:
        FileNotFoundError: no such folder, no image in it, or an image without a label map.
        UserError: no names, more than label maps of 8 bits can hold, or not a value for each.
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: dict[str, str],
        metainfo: dict[str, Any] | None = None,
        label_values: Sequence[int] | None = None,
        **settings: Any,
    ) -> None:
        name = type(self).__name__
        classes = list((metainfo or {}).get('classes') or [])
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
        super().__init__(data_root, data_prefix, metainfo=metainfo, **settings)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One sample an image.

        Raises:
            FileNotFoundError: see the class.
        """
        samples = super().load_data_list()
        images, labels = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        count = len(self.metainfo['classes']) + bool(self.reduce_zero_label)
        for sample in samples:
            place = Path(os.path.relpath(sample['img_path'], images)).with_suffix('.png')
            sample['seg_map_path'] = str(Path(labels) / place)
            sample['ignore_index'] = self.ignore_index
            sample['num_label_values'] = count
            if self.label_values is not None:
                sample['label_values'] = self.label_values
        absent = [sample for sample in samples if not os.path.isfile(sample['seg_map_path'])]
        if absent:
            image, wanted = absent[0]['img_path'], os.path.abspath(absent[0]['seg_map_path'])
            raise FileNotFoundError(
                f'{type(self).__name__}: {len(absent)} of {len(samples)} images have no label map; '
                f'the first is {image}, which needs {wanted}'
            )
        return samples
