"""Pieces of COCO annotation files that all results write alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ovseg import __version__

# The one image of a file.
IMAGE_ID = 1


def file_info() -> dict[str, Any]:
    """The ``info`` of a file, which some versions of COCO's own tools do not do without."""
    return {'description': f'segmentation by ovseg {__version__}', 'version': '1.0'}


def category_of(label: int) -> int:
    """The category id of a class: labels + 1, since COCO has no category 0."""
    return label + 1


def image_record(source: str, size: tuple[int, int]) -> dict[str, Any]:
    """The image of a file.

    Args:
        source: what it is called.
        size: (height, width) in pixels.
    """
    return {'id': IMAGE_ID, 'file_name': source, 'height': size[0], 'width': size[1]}


def categories_of(
    names: Sequence[str], background_index: int | None, without: Collection[int] = ()
) -> list[dict[str, Any]]:
    """The categories of a file; the background is none.

    Args:
        names: of the classes, in label order.
        background_index: the class that means "none of these", or None.
        without: further labels that are no categories.
    """
    return [
        {'id': category_of(label), 'name': name}
        for label, name in enumerate(names)
        if label != background_index and label not in without
    ]


def panoptic_categories(
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    background_index: int | None,
    stuff: Collection[int],
) -> list[dict[str, Any]]:
    """The categories of a panoptic file; the background is none.

    Args:
        names: of the classes, in label order.
        palette: one RGB colour a class.
        background_index: the class that means "none of these", or None.
        stuff: labels of the classes that are no things.
    """
    labels = [label for label in range(len(names)) if label != background_index]
    return [
        {
            **category,
            'isthing': int(label not in stuff),
            'color': [int(channel) for channel in palette[label]],
        }
        for label, category in zip(labels, categories_of(names, background_index), strict=True)
    ]
