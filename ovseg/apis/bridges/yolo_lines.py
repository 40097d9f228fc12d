"""Label files as YOLO's segmentation takes them (ultralytics): a line an object.

The tool reads ``labels/STEM.txt`` beside ``images/STEM.jpg``, and the names from its data set's
YAML file. A line is the class's index, from 0 and without a background, and the corners of one
closed line as shares of width and height. Holes and further parts are joined to it by cuts without
width, as ultralytics' own converter joins the parts of COCO's objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovseg.apis.bridges.named_mask import NamedMask


def yolo_index(label: int, background_index: int | None) -> int:
    """The index of a class among those that are not background."""
    return label - (background_index is not None and label > background_index)


def yolo_text(
    masks: Sequence[NamedMask],
    size: tuple[int, int],
    background_index: int | None,
    tolerance: float,
) -> str:
    """The text of a label file: a line for each connected part of a class, or for each segment.

    Args:
        masks: of a result.
        size: (height, width) of the image.
        background_index: the class that is none, or None.
        tolerance: of the outlines, in pixels.
    """
    lines = []
    for each in masks:
        index = yolo_index(each.label, background_index)
        for line in each.lines(tolerance, whole=True):
            shares = (line / size[::-1]).ravel()
            lines.append(' '.join([str(index), *map(_decimals, shares)]) + '\n')
    return ''.join(lines)


def _decimals(share: np.float64) -> str:
    """A share of a side with six decimals at most: a hundredth of a pixel at 10,000."""
    return f'{share:.6f}'.rstrip('0').rstrip('.')
