"""Annotation files as LabelMe reads and writes them: ``STEM.json`` beside ``STEM.jpg``.

LabelMe's polygons have no holes: they are joined to the outer line by cuts without width. The parts
of a segment are polygons of one group, as LabelMe's own converters take them for one object; the
parts of a class are polygons on their own.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovseg.apis.bridges.named_mask import NamedMask

# Of the format: from 5.0 to 7.9 LabelMe reads all files of a 5.
_VERSION = '5.0.0'


def labelme_content(
    masks: Sequence[NamedMask],
    image: np.ndarray,
    source: str,
    path: Path,
    tolerance: float,
) -> dict[str, Any]:
    """The content of an annotation file; scores come on top of the format.

    Args:
        masks: of a result.
        image: (H, W, 3) uint8 RGB. It is put into the file where ``source`` is no file.
        source: the image's path.
        path: of the annotation file, which names the image from its own folder.
        tolerance: of the outlines, in pixels.
    """
    has_file = bool(source) and os.path.isfile(source)
    return {
        'version': _VERSION,
        'flags': {},
        'shapes': [
            {
                'label': each.name,
                'points': line.astype(float).tolist(),
                'group_id': each.segment,
                'description': '',
                'shape_type': 'polygon',
                'flags': {},
                'mask': None,
                'score': each.score,
            }
            for each in masks
            for line in each.lines(tolerance, whole=False)
        ],
        'imagePath': _from(path.parent, source) if has_file else f'{path.stem}.png',
        'imageData': None if has_file else _as_text(image),
        'imageHeight': image.shape[0],
        'imageWidth': image.shape[1],
    }


def _from(folder: Path, source: str) -> str:
    """A path as seen from a folder, or as it is where there is no way (another drive)."""
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:
        return str(Path(source).absolute())


def _as_text(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format='PNG')
    return base64.b64encode(buffer.getvalue()).decode('ascii')
