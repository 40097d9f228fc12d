"""Id maps from disk: PNG files whose colours are the numbers of segments."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform
from mmengine import fileio

from ovseg.coco_masks import ids_of_colors
from ovseg.datasets.label_orientation import fit_to_upright, is_ambiguous, say_ambiguous
from ovseg.datasets.panoptic_truth import PanopticTruth, TrueSegment
from ovseg.errors import UserError
from ovseg.images.opening import opened
from ovseg.input_files import read_bytes
from ovseg.registry import TRANSFORMS

_CONTENT = 'panoptic map'


def read_id_map(path: str, backend_args: dict[str, Any] | None = None) -> npt.NDArray[np.int32]:
    """The ids (H, W) of a file in COCO's panoptic format.

    Args:
        path: on this machine, or where ``backend_args`` say.
        backend_args: as in mmengine.fileio.

    Raises:
        FileNotFoundError: no such file.
        UserError: no image, one without three colours, or one whose colours are not exact.
    """
    is_local = backend_args is None and '://' not in path
    content = read_bytes(path, _CONTENT) if is_local else fileio.get(path, backend_args)
    with opened(path, _CONTENT, io.BytesIO(content)) as image:
        if image.mode != 'RGB' or image.format in ('JPEG', 'MPO', 'WEBP'):
            raise UserError(
                f'{path} is a {image.format} of mode {image.mode}; a panoptic map is an RGB PNG, '
                'whose colours are numbers (docs/panoptic.md)'
            )
        return ids_of_colors(np.asarray(image))


@TRANSFORMS.register_module()
class LoadPanopticMap(BaseTransform):
    """Adds the annotation of an image, at the size of its file whatever becomes of the image.

    Required keys: ``seg_map_path``, ``segments`` (``id``, label, ``area``, ``iscrowd`` each, of the
    classes asked for), ``ori_shape`` and ``exif_orientation`` of the image. Added key:
    ``panoptic_truth``, a :class:`~ovseg.datasets.panoptic_truth.PanopticTruth`, which
    ``PackSegInputs`` hands on where its ``meta_keys`` name it.

    Args:
        backend_args: where files are, as in mmengine.fileio.

    Raises:
        FileNotFoundError: no such map.
        UserError: a file that cannot be read, a size unlike the image's, or a map without any of
            the segments that the annotation file lists.
    """

    def __init__(self, backend_args: dict[str, Any] | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds the annotation to the sample."""
        path = results['seg_map_path']
        raw: npt.NDArray[np.integer] = read_id_map(path, self.backend_args)
        size, orientation = results.get('ori_shape'), results.get('exif_orientation', 1)
        if is_ambiguous(raw.shape, orientation):
            say_ambiguous(str(results.get('img_path')), orientation)
        known = None if size is None else (int(size[0]), int(size[1]))
        ids = fit_to_upright(raw, known, orientation, 'upright', path).astype(np.int32)
        segments = tuple(
            TrueSegment(number, label, area, crowd == 1)
            for number, label, area, crowd in results['segments']
        )
        # Some converters list a segment that others cover wholly; it can only be missed then.
        if segments and not any((ids == segment.id).any() for segment in segments):
            raise UserError(
                f'{path} has no pixel of any segment that the annotation file lists for it, such '
                f'as {segments[0].id}: are they of one release?'
            )
        results['panoptic_truth'] = PanopticTruth(ids, segments)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'
