"""Pictures of objects with and without defects, in the folders of MVTec AD."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmcv.transforms import BaseTransform

from ovseg.datasets.checked import CheckedDataset
from ovseg.datasets.loading import read_labels, renumber
from ovseg.errors import UserError, nearest
from ovseg.folders import is_image_name, walk_files
from ovseg.images.pipeline import Step, pipeline_with_resize
from ovseg.registry import DATASETS, TRANSFORMS
from ovseg.vocabulary.anomaly_words import STATES

_IMAGES, _MASKS, _WHOLE = 'test', 'ground_truth', 'good'
_MASK_ENDINGS = ('_mask.png', '.png')


@TRANSFORMS.register_module()
class LoadDefectMask(BaseTransform):
    """Adds the mask of a defect, in place of reading a label map: 1 where it is, 0 elsewhere.

    Required keys: ``img_shape`` of the loaded image and ``seg_map_path``, None for an image without
    defects. Added key: ``gt_seg_map`` (H, W) uint8.

    Raises:
        UserError: a mask of another size, or one that cannot be read.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Puts the mask where mmseg looks for labels."""
        path, shape = results.get('seg_map_path'), results['ori_shape']
        mask = np.zeros(shape, np.uint8)
        if path is not None:
            values = read_labels(path)
            if values.shape != tuple(shape):
                raise UserError(
                    f'the mask {path} is {values.shape[0]} x {values.shape[1]} pixels, its image '
                    f'{results["img_path"]} {shape[0]} x {shape[1]}'
                )
            mask = (values > 0).astype(np.uint8)
        if results.get('label_map') is not None:  # of a part of the classes
            mask = renumber(mask, results['label_map'])
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@DATASETS.register_module()
class DefectFolderDataset(CheckedDataset):
    """Images ``OBJECT/test/DEFECT/x.png``, masks ``OBJECT/ground_truth/DEFECT/x_mask.png``.

    That is how MVTec AD lies on disk. Images of the defect ``good`` have none and need no mask; of
    a mask every value above 0 is defect.

    Args:
        data_root: the folder of the objects.
        objects: some of them, by their folders' names; None for all.
        resize: the resize rule (``ovseg.images.ResizeRule``), or None.
        pipeline: as in mmseg.
        kwargs: as in ``BaseSegDataset``; what is about other folders is refused.

    Raises:
        FileNotFoundError: no such folder, no object in it, or an image without its mask.
        UserError: an object that is not there.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        'classes': STATES,
        'palette': [[70, 150, 50], [230, 60, 60]],
        'ignore_index': 255,
    }
    UNREAD: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            *('ann_file', 'data_prefix', 'img_suffix', 'seg_map_suffix'),
            *('ignore_index', 'reduce_zero_label', 'backend_args'),
        ),
        'images and masks lie in the folders of MVTec AD, and are normal or abnormal',
    )
    FOLDERS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        data_root: str,
        objects: Sequence[str] | None = None,
        resize: dict[str, Any] | None = None,
        pipeline: Sequence[Step] = (
            dict(type='LoadImageFromFile'),
            dict(type='LoadDefectMask'),
            dict(type='PackSegInputs'),
        ),
        **kwargs: Any,
    ) -> None:
        self.resize, self.objects = resize, objects
        super().__init__(
            data_root=data_root,
            pipeline=pipeline_with_resize(list(pipeline), resize),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """One sample an image, by object, defect and name.

        Raises:
            FileNotFoundError: see the class.
            UserError: likewise.
        """
        root = os.path.expanduser(self.data_root)
        found = sorted(entry.name for entry in os.scandir(root)) if os.path.isdir(root) else []
        found = [name for name in found if os.path.isdir(os.path.join(root, name, _IMAGES))]
        if not found:
            raise FileNotFoundError(
                f'{type(self).__name__}: no folder OBJECT/{_IMAGES}/DEFECT in '
                f'{os.path.abspath(root)}; correct data_root'
            )
        for name in self.objects or ():
            if name not in found:
                raise UserError(
                    f"{type(self).__name__}.objects names '{name}', which has no folder "
                    f'{_IMAGES} in {os.path.abspath(root)}.{nearest(name, found)}'
                )
        chosen = found if self.objects is None else list(self.objects)
        return [sample for name in chosen for sample in self._of_object(os.path.join(root, name))]

    def _of_object(self, folder: str) -> list[dict[str, Any]]:
        images = os.path.join(folder, _IMAGES)
        paths = sorted(map(str, walk_files(images)))
        samples = []
        for path in paths:
            if not is_image_name(Path(path)):
                continue
            sample: dict[str, Any] = {'img_path': path, 'seg_map_path': None, 'seg_fields': []}
            sample['label_map'] = self.label_map
            place = os.path.relpath(path, images)
            if place.split(os.sep)[0] != _WHOLE:
                sample['seg_map_path'] = self._mask_of(folder, place, path)
            samples.append(sample)
        if not samples:
            raise FileNotFoundError(f'{type(self).__name__}: no image in {os.path.abspath(images)}')
        return samples

    def _mask_of(self, folder: str, place: str, image: str) -> str:
        stem = os.path.join(folder, _MASKS, os.path.splitext(place)[0])
        for ending in _MASK_ENDINGS:
            if os.path.isfile(stem + ending):
                return stem + ending
        raise FileNotFoundError(
            f'{type(self).__name__}: {image} has no mask; it needs '
            f'{os.path.abspath(stem + _MASK_ENDINGS[0])}'
        )
