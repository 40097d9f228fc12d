"""The kinds of files that results are saved as, and how the names of the files end."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from ovseg.errors import UserError, nearest

ENDS = {
    'labels': '_labels.png',
    'overlay': '_overlay.png',
    'scores': '_scores.npz',
    'json': '.json',
    'coco': '_coco.json',
    # Named as their tools look for them: like the image.
    'yolo': '.txt',
    'labelme': '.json',
}
KINDS_OF_FILES = tuple(ENDS)
# By task. Of `panoptic` this is the JSON file; a PNG file goes with it.
KINDS_OF_SEGMENT_FILES = {
    'panoptic': ('overlay', 'panoptic', 'instances', 'yolo', 'labelme'),
    'instance': ('overlay', 'instances', 'yolo', 'labelme'),
}
SEGMENT_ENDS = {
    'overlay': '_overlay.png',
    'panoptic': '_panoptic.json',
    'instances': '_instances.json',
    'yolo': ENDS['yolo'],
    'labelme': ENDS['labelme'],
}
RASTER_ENDS = {
    'labels': '_labels.tif',
    'overlay': '_overlay.png',
    'json': '.json',
    'gpkg': '_labels.gpkg',
    'geojson': '_labels.geojson',
}
KINDS_OF_RASTER_FILES = tuple(RASTER_ENDS)
PANOPTIC_PNG = '_panoptic.png'
# Files of a whole set of images, by kind; which there are for a task.
SET_FILES = {'coco': 'coco.json', 'panoptic': 'panoptic.json', 'areas': 'areas.parquet'}
KINDS_OF_SET_FILES = {
    'semantic': ('coco', 'areas'),
    'panoptic': ('coco', 'panoptic', 'areas'),
    'instance': ('coco', 'areas'),
}
# The folder of the PNG files that belong to panoptic.json.
PANOPTIC_FOLDER = 'panoptic'


def check_kinds(kinds: Collection[str], known: Sequence[str]) -> list[str]:
    """The kinds of files, in their usual order.

    Args:
        kinds: what is wanted.
        known: what there is, in order.

    Raises:
        UserError: one of them is unknown, or two are files of one name.
    """
    for kind in kinds:
        if kind not in known:
            raise UserError(
                f'{kind!r} cannot be saved, use {", ".join(known)}.' + nearest(kind, known)
            )
    if 'json' in kinds and 'labelme' in kinds:
        raise UserError(
            "'json' and 'labelme' are files of one name, since LabelMe finds its own by the "
            "image's: save them into two folders."
        )
    return [kind for kind in known if kind in kinds]


def ends_of(kinds: Collection[str]) -> list[str]:
    """How the names of the files of some kinds end.

    Args:
        kinds: of :data:`KINDS_OF_FILES`.
    """
    return [ENDS[kind] for kind in kinds]


def segment_ends_of(kinds: Collection[str]) -> list[str]:
    """How the names of the files of some kinds end; ``panoptic`` has two files.

    Args:
        kinds: of :data:`KINDS_OF_SEGMENT_FILES`.
    """
    ends = [SEGMENT_ENDS[kind] for kind in kinds]
    return [*ends, PANOPTIC_PNG] if 'panoptic' in kinds else ends


def longest_end(ends: Iterable[str]) -> int:
    """Bytes of the longest of some ends of names."""
    return max(len(os.fsencode(end)) for end in ends)


LONGEST_END = longest_end(ENDS.values())
LONGEST_SEGMENT_END = longest_end(SEGMENT_ENDS.values())
