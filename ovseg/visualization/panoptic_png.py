"""Id maps of segments as the PNG files of COCO's panoptic format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ovseg.coco_masks import colors_of_ids
from ovseg.files import written_whole
from ovseg.result_files import png_mark

_LARGEST = 256**3 - 1


def save_panoptic_png(ids: np.ndarray, path: str | Path) -> Path:
    """Write an id map losslessly: a pixel's id is ``R + 256 G + 256^2 B``.

    Ids are small numbers, so the picture looks almost black. The file appears whole or not at all.

    Args:
        ids: (H, W) integers in [0, 2^24), 0 where there is no segment.
        path: the file to write.

    Returns:
        The path written.

    Raises:
        ValueError: an id out of range.

    Source: COCO panoptic segmentation, data format.
    """
    ids, path = np.asarray(ids), Path(path)
    if ids.size and not 0 <= ids.min() <= ids.max() <= _LARGEST:
        raise ValueError(f'ids must lie in [0, {_LARGEST}], got {ids.min()} to {ids.max()}.')
    with written_whole(path) as temporary:
        Image.fromarray(colors_of_ids(ids)).save(
            temporary, format='PNG', pnginfo=png_mark('panoptic')
        )
    return path
