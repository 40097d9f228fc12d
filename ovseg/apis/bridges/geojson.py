"""A result as GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ovseg.apis.bridges.named_mask import NamedMask
from ovseg.mask_polygons import geometry


def feature_collection(masks: Sequence[NamedMask], tolerance: float) -> dict[str, Any]:
    """A feature a mask, with what is known of it as properties.

    Args:
        masks: of a result.
        tolerance: of the outlines, in pixels.
    """
    return {
        'type': 'FeatureCollection',
        'features': [
            {
                'type': 'Feature',
                **({} if each.segment is None else {'id': each.segment}),
                'geometry': geometry(each.polygons(tolerance)),
                'properties': {
                    'name': each.name,
                    'index': each.label,
                    'pixels': each.pixels,
                    'score': each.score,
                },
            }
            for each in masks
        ],
    }
