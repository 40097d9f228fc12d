"""A result as supervision's ``Detections``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.extras import of_extra

if TYPE_CHECKING:
    from supervision import Detections


def to_detections(masks: Sequence[NamedMask], size: tuple[int, int]) -> Detections:
    """Masks, boxes, class ids and confidences, one a mask.

    Args:
        masks: of a result.
        size: (height, width) of the image.

    Raises:
        UserError: supervision is missing.
    """
    with of_extra('supervision', 'Detections are classes of supervision'):
        import supervision
    data: dict[str, Any] = {'class_name': np.array([each.name for each in masks], dtype=str)}
    if any(each.segment is not None for each in masks):
        data['segment_id'] = np.array([each.segment for each in masks])
    scores = [each.score for each in masks]
    return supervision.Detections(
        # Without masks the shapes stay.
        xyxy=np.array([each.box for each in masks], dtype=np.float32).reshape(-1, 4),
        mask=np.array([each.mask for each in masks], dtype=bool).reshape(-1, *size),
        confidence=None if None in scores else np.array(scores, dtype=np.float32),
        class_id=np.array([each.label for each in masks], dtype=int),
        data=data,
    )
