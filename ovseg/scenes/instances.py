"""Objects of Scenes one by one, in COCO's format, for detection and instance segmentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg.coco_masks import mask_record
from ovseg.scenes.draw import Picture
from ovseg.scenes.world import MATERIALS, OBJECTS, Scene

# Of an object that others hide almost wholly nobody could tell what it is.
SMALLEST = 20


def visible_objects(scene: Scene, picture: Picture) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """Returns each object's index into ``OBJECTS`` and the mask (H, W) of what is seen of it.

    Args:
        scene: what there is.
        picture: how it is seen; objects with fewer than ``SMALLEST`` visible pixels are left out.
    """
    masks = (picture.owner == len(MATERIALS) + number for number in range(len(scene.things)))
    found = zip((thing.kind for thing in scene.things), masks, strict=True)
    return [(kind, mask) for kind, mask in found if mask.sum() >= SMALLEST]


def coco_annotation(kind: int, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Returns an object as COCO writes it, without its numbers.

    Args:
        kind: index into ``OBJECTS``; its category is one more, as COCO counts from 1.
        mask: (H, W).

    Returns:
        ``category_id``, ``segmentation`` (compressed run lengths), ``area`` and ``bbox``
        ``[x, y, width, height]`` of the visible part in pixels, ``iscrowd`` 0.
    """
    return {'category_id': kind + 1, **mask_record(mask), 'iscrowd': 0}


def coco_file(
    pictures: Iterable[tuple[str, tuple[int, int], list[dict[str, Any]]]],
) -> dict[str, Any]:
    """Returns the content of a COCO instances file.

    Args:
        pictures: file name, (height, width) and annotations (see :func:`coco_annotation`) each.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (height, width), objects) in enumerate(pictures, 1):
        images.append({'id': number, 'file_name': name, 'height': height, 'width': width})
        for entry in objects:
            annotations.append({'id': len(annotations) + 1, 'image_id': number, **entry})
    return {
        'info': {'description': 'Scenes: procedural pictures of ten kinds of objects'},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(OBJECTS, 1)],
    }
