"""What results of all tasks offer to other libraries."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg.apis.bridges.geojson import feature_collection
from ovseg.apis.bridges.labelme_shapes import labelme_content
from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.apis.bridges.pipeline_list import pipeline_list
from ovseg.apis.bridges.supervision_detections import to_detections
from ovseg.apis.bridges.yolo_lines import yolo_text
from ovseg.apis.files import write_json, write_text

if TYPE_CHECKING:
    from supervision import Detections

# Of outlines in files, in pixels: slopes are lines, and no corner of an object is off by more.
TOLERANCE = 1.0


class Bridged:
    """Mixin: a result in the forms of other libraries. The background is left out of all."""

    image: np.ndarray
    source: str
    background_index: int | None

    @abstractmethod
    def named_masks(self) -> list[NamedMask]:
        """Masks with their words, as all forms below hold them; the background is left out."""

    def to_geojson(self, tolerance: float = 0.0) -> dict[str, Any]:
        """A GeoJSON ``FeatureCollection``, with name, index, pixels and score as properties.

        Its coordinates are pixels of the image, y down, and no places on the earth.

        Args:
            tolerance: see :meth:`to_polygons`.

        Raises:
            UserError: the tolerance is no number from 0 on.
        """
        return feature_collection(self.named_masks(), tolerance)

    def to_supervision(self) -> Detections:
        """A detection a mask, as ``supervision.Detections`` (``pip install "ovseg[supervision]"``).

        ``mask`` (N, H, W) bool; ``xyxy`` (N, 4) float32 in pixels, right and bottom just outside of
        the mask; ``class_id`` positions in ``names``; ``confidence`` (N,) float32, None where no
        scores were measured; ``data['class_name']``, for segments also ``data['segment_id']``.

        Raises:
            UserError: supervision is missing.
        """
        return to_detections(self.named_masks(), (self.image.shape[0], self.image.shape[1]))

    def to_transformers(self) -> list[dict[str, Any]]:
        """What ``transformers.pipeline('image-segmentation')`` gives for an image.

        A dictionary a mask: ``score`` (None if not measured), ``label`` (the class's name) and
        ``mask``, a PIL image of mode ``L`` with the image's size, 255 in the mask and 0 elsewhere.
        """
        return pipeline_list(self.named_masks())

    def _write_annotations(self, kind: str, path: Path, tolerance: float) -> None:
        """Writes a file of the kind ``yolo`` or ``labelme``."""
        masks = self.named_masks()
        if kind == 'yolo':
            size = (self.image.shape[0], self.image.shape[1])
            write_text(yolo_text(masks, size, self.background_index, tolerance), path)
        else:
            write_json(labelme_content(masks, self.image, self.source, path, tolerance), path)
