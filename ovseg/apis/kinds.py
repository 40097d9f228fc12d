"""The kinds of files that results are saved as, and how the names of the files end."""

from __future__ import annotations

ENDS = {
    'labels': '_labels.png',
    'overlay': '_overlay.png',
    'scores': '_scores.npz',
    'json': '.json',
    'coco': '_coco.json',
}
KINDS_OF_FILES = tuple(ENDS)
# By task. Of `panoptic` this is the JSON file; a PNG file goes with it.
KINDS_OF_SEGMENT_FILES = {
    'panoptic': ('overlay', 'panoptic', 'instances'),
    'instance': ('overlay', 'instances'),
}
SEGMENT_ENDS = {
    'overlay': '_overlay.png',
    'panoptic': '_panoptic.json',
    'instances': '_instances.json',
}
