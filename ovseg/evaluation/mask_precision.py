"""Average precision of masks as pycocotools counts it, with a mean for any part of the classes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# COCOeval's own order of sizes, by the letters that published tables have.
_SIZES = ('', '_s', '_m', '_l')
_LOOSE, _STRICT = 0.5, 0.75


@dataclass(frozen=True, eq=False)
class ImageMasks:
    """Masks of one image, run-length encoded as :func:`~ovseg.coco_masks.mask_record` has them.

    Attributes:
        size: (height, width) in pixels.
        true: annotations, ``category_id`` the class's label + 1, with ``iscrowd``.
        found: predictions, likewise, with ``score``.
    """

    size: tuple[int, int]
    true: Sequence[Mapping[str, Any]]
    found: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class MaskPrecision:
    """Precision at all thresholds.

    Attributes:
        precision: (T, R, K, A) in [0, 1]: IoU thresholds 0.50 to 0.95, recalls 0 to 1, classes,
            sizes (all, small, medium, large); -1 where a class has no annotation of a size.
        thresholds: (T,) of the IoU.
    """

    precision: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]

    def means(self, chosen: npt.NDArray[np.bool_] | None = None) -> dict[str, float]:
        """``AP``, ``AP_50``, ``AP_75``, ``AP_s``, ``AP_m`` and ``AP_l`` in percent.

        Args:
            chosen: (K,), the classes to average; None for all.

        Returns:
            NaN where nothing was annotated.
        """
        part = self.precision if chosen is None else self.precision[:, :, chosen]
        names = {f'AP{letter}': part[..., size] for size, letter in enumerate(_SIZES)}
        found = {'AP': names.pop('AP')}
        for threshold in (_LOOSE, _STRICT):
            found[f'AP_{round(100 * threshold)}'] = part[np.isclose(self.thresholds, threshold)][
                ..., 0
            ]
        return {name: _mean(values) for name, values in {**found, **names}.items()}

    def of_classes(self) -> npt.NDArray[np.float64]:
        """(K,) AP of each class in percent; NaN for one without annotation."""
        return np.array([_mean(self.precision[:, :, k, 0]) for k in range(self.precision.shape[2])])


def mask_precision(
    images: Sequence[ImageMasks], num_classes: int, most: int = 100
) -> MaskPrecision:
    """Precision of masks over a data set.

    Args:
        images: all of it.
        num_classes: K.
        most: how many of the surest masks of an image count, of each class.

    Source: pycocotools, cocoeval.py, with ``iouType='segm'``; its sizes end at 32 x 32 and 96 x 96
    pixels.
    """
    with redirect_stdout(io.StringIO()):  # it tells every step
        evaluation = COCOeval(
            _coco([image.true for image in images], images, num_classes),
            _coco([image.found for image in images], images, num_classes),
            iouType='segm',
        )
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][..., 0]
    return MaskPrecision(precision, evaluation.params.iouThrs)


def _coco(
    records: Sequence[Sequence[Mapping[str, Any]]], images: Sequence[ImageMasks], num_classes: int
) -> COCO:
    content = COCO()
    annotations: list[dict[str, Any]] = []
    for number, of_image in enumerate(records, 1):
        for record in of_image:
            # Ids begin at 1: pycocotools takes 0 for "matched with nothing".
            numbers = {'id': len(annotations) + 1, 'image_id': number}
            annotations.append({'iscrowd': 0, **record, **numbers})
    content.dataset = {
        'images': [
            {'id': number, 'height': image.size[0], 'width': image.size[1]}
            for number, image in enumerate(images, 1)
        ],
        'annotations': annotations,
        'categories': [{'id': label + 1} for label in range(num_classes)],
    }
    content.createIndex()
    return content


def _mean(precision: npt.NDArray[np.float64]) -> float:
    counted = precision[precision > -1]
    return 100 * float(counted.mean()) if counted.size else float('nan')
