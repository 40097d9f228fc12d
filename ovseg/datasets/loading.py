"""Label maps from disk without loss: 8-bit, palette and 16-bit PNG, 16-bit TIFF."""

from __future__ import annotations

import io
import os
from typing import Any

import mmengine.fileio as fileio
import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform

from ovseg.datasets.label_orientation import fit_to_upright, is_ambiguous, say_ambiguous
from ovseg.errors import UserError
from ovseg.images.opening import opened
from ovseg.input_files import read_bytes
from ovseg.registry import TRANSFORMS

# Grey, palette and 16-bit pixels hold one number each; colour images do not.
_LABEL_MODES = ('L', 'P', '1', 'I', 'I;16', 'I;16L', 'I;16B')
_LOSSY = ('JPEG', 'MPO')


def decode_labels(content: bytes, path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """The pixel values (H, W) of a label image; a palette's indices, not its colours.

    Args:
        content: the file's bytes, any format that Pillow reads.
        path: named in errors.

    Raises:
        UserError: not an image, cut short, a colour image, fractions, or a format that does not
            keep numbers exactly.
    """
    with opened(path, 'label map', io.BytesIO(content)) as image:
        mode, stored_as = image.mode, image.format
        labels = np.asarray(image)
    if mode == 'F':
        raise UserError(f'the label map {path} holds fractions; save whole numbers')
    if mode not in _LABEL_MODES:
        raise UserError(
            f'{path} is a colour image (mode {mode}), label maps hold one number a pixel'
        )
    if stored_as in _LOSSY:
        raise UserError(
            f'the label map {path} is a {stored_as}, which changes numbers at every edge; save it '
            'as PNG from where it was made'
        )
    return labels.astype(np.int32)


def read_labels(
    path: str | os.PathLike[str], backend_args: dict[str, Any] | None = None
) -> npt.NDArray[np.int32]:
    """The pixel values (H, W) of a label file; see :func:`decode_labels`.

    Args:
        path: on this machine, or where ``backend_args`` say.
        backend_args: as in mmengine.fileio.

    Raises:
        FileNotFoundError: no such file.
        UserError: see :func:`decode_labels`; or no regular file, or one that may not be read.
    """
    if backend_args is None and '://' not in str(path):
        return decode_labels(read_bytes(path, 'label map'), path)
    return decode_labels(fileio.get(path, backend_args=backend_args), path)


@TRANSFORMS.register_module()
class LoadSegLabels(BaseTransform):
    """Load a label map as int32 (H, W), with indices beyond 255 and the data set's ignore value.

    mmseg's ``LoadAnnotations`` casts to uint8 and fixes 255 as ignore value, which corrupts sets
    of more than 255 classes. The rule here, in this order:

    1. the map is that of the upright picture, or with ``labels_drawn_on='stored'`` becomes that
       (:mod:`ovseg.datasets.label_orientation`);
    2. with ``label_values``, the value of a class in the file becomes its number;
    3. values in ``ignored_labels`` become ``ignore_index``;
    4. with ``reduce_zero_label``, 0 becomes ``ignore_index`` and every other label falls by one;
    5. ``label_map`` (a subset or another order of classes) is applied.

    All of these come with the sample from ovseg's data sets. A sample of another data set class
    has ``ignore_index`` 255. A sample without ``seg_map_path`` (inference) passes unchanged.

    Required keys: ``seg_map_path``, ``reduce_zero_label``, ``label_map`` and ``seg_fields``;
    with ovseg's data sets also ``ignore_index``, ``ignored_labels``, ``num_label_values``,
    ``label_values`` and ``labels_drawn_on``; ``ori_shape`` and ``exif_orientation`` of the image.
    Added key: ``gt_seg_map``.

    Args:
        backend_args: where files are, as in mmengine.fileio.

    Raises:
        FileNotFoundError: no such label file.
        UserError: a file that cannot be read, a size unlike the image's, a value that is no class.
    """

    def __init__(self, backend_args: dict[str, Any] | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map`` to the sample."""
        path = results.get('seg_map_path')
        if path is None:
            return results
        raw: npt.NDArray[np.integer] = read_labels(path, self.backend_args)
        raw = self._fitted(raw, results, path)
        ignore_index = results.get('ignore_index', 255)
        ignored = np.isin(raw, results.get('ignored_labels', (ignore_index,)))
        if 'label_values' in results:
            values = results['label_values']
            ignored &= ~np.isin(raw, values)
            _check_listed(raw, ignored | np.isin(raw, values), path)
            raw = renumber(raw, {value: number for number, value in enumerate(values)})
        elif 'num_label_values' in results:
            _check_values(raw, ignored, results['num_label_values'], path)
        labels = raw
        if results.get('reduce_zero_label'):
            ignored |= raw == 0
            labels = raw - 1
        if results.get('label_map') is not None:
            labels = renumber(labels, results['label_map'])
        results['gt_seg_map'] = np.where(ignored, np.int32(ignore_index), labels)
        results['seg_fields'].append('gt_seg_map')
        return results

    def _fitted(
        self, raw: npt.NDArray[np.integer], sample: dict[str, Any], path: str
    ) -> npt.NDArray[np.integer]:
        size, orientation = sample.get('ori_shape'), sample.get('exif_orientation', 1)
        drawn_on = sample.get('labels_drawn_on', 'upright')
        if drawn_on == 'upright' and is_ambiguous(raw.shape, orientation):
            say_ambiguous(str(sample.get('img_path')), orientation)
        known = None if size is None else (int(size[0]), int(size[1]))
        return fit_to_upright(raw, known, orientation, drawn_on, path)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'


def _check_values(
    raw: npt.NDArray[np.integer], ignored: npt.NDArray[np.bool_], count: int, path: str
) -> None:
    wrong = ((raw < 0) | (raw >= count)) & ~ignored
    if wrong.any():
        raise UserError(
            f'{path} holds the label {raw[wrong][0]}, this data set has 0 to {count - 1}: '
            'it is not prepared, or for another data set (docs/data.md); label_values of '
            'LabelledFolderDataset says which value each class has'
        )


def _check_listed(raw: npt.NDArray[np.integer], known: npt.NDArray[np.bool_], path: str) -> None:
    if not known.all():
        raise UserError(
            f'{path} holds the label {raw[~known][0]}, which is not in label_values; add it there, '
            'or make it 255 in the file'
        )


def renumber(labels: npt.NDArray[np.integer], label_map: dict[int, int]) -> npt.NDArray[np.integer]:
    """Labels (H, W) with every key of ``label_map`` replaced by its value, all at once.

    Example:
        >>> renumber(np.array([[0, 1, 2]]), {0: 1, 1: 0}).tolist()
        [[1, 0, 2]]
    """
    renumbered = labels.copy()
    for old, new in label_map.items():
        renumbered[labels == old] = new
    return renumbered
