"""Pieces of COCO annotation files that all results write alike."""

from __future__ import annotations

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
