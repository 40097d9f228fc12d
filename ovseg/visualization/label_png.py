"""Label maps as PNG files: indexed colour up to 256 classes, 16-bit grey beyond."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ovseg.files import written_whole
from ovseg.result_files import png_mark

MAX_LABEL = 65535
_UNKNOWN_COLOR = (224, 224, 224)


def save_label_png(labels: np.ndarray, palette: Sequence[Sequence[int]], path: str | Path) -> Path:
    """Write a label map losslessly: each pixel's value is its class index.

    Up to 256 classes the file is an 8-bit PNG with the palette, so that picture viewers show the
    classes' colours. With more classes, or a label above 255, it is a 16-bit grey PNG. The file
    appears whole or not at all.

    Args:
        labels: (H, W) integers in [0, 65535].
        palette: one RGB colour in [0, 255] a class.
        path: the file to write.

    Returns:
        The path written.

    Raises:
        ValueError: labels are not (H, W) integers, or a label is outside of [0, 65535].
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f'A label map is an (H, W) array of integers, but got {labels.dtype} '
            f'with the shape {labels.shape}.'
        )
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > MAX_LABEL:
        raise ValueError(f'Labels must lie in [0, {MAX_LABEL}], but reach from {low} to {high}.')
    path = Path(path)
    if len(palette) <= 256 and high <= 255:
        picture = Image.fromarray(labels.astype(np.uint8))
        colors = [*map(tuple, palette), *[_UNKNOWN_COLOR] * (256 - len(palette))]
        picture.putpalette([int(channel) for color in colors for channel in color])
    else:
        picture = Image.fromarray(labels.astype(np.uint16))
    with written_whole(path) as temporary:
        picture.save(temporary, format='PNG', pnginfo=png_mark('labels'))
    return path
