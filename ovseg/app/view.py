"""Answers as plain values for the browser, which paints them: pictures, labels, legends, files."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ovseg.apis import SegmentationResult
from ovseg.apis.files import file_paths, stem_of, write_picture
from ovseg.apis.kinds import ENDS
from ovseg.errors import UserError, nearest
from ovseg.visualization.legend import format_share

# The longer side of what is shown; files that are downloaded have the picture's own size.
SHOWN_SIDE = 1400
_QUALITY = 92
FILES = {'overlay': 'image/png', 'labels': 'image/png', 'json': 'application/json'}


def view_of(result: SegmentationResult) -> dict[str, Any]:
    """What the browser paints: the picture, the label of each of its pixels, the legend's lines.

    Args:
        result: of a question.

    Returns:
        ``width`` and ``height`` of the picture, ``shown`` [width, height] of what is shown,
        ``source`` (a data URL), ``labels`` (base64 of deflated rows of ``bits`` each pixel, little
        endian), ``classes`` (those present, largest first) and ``absent`` (names of the others that
        were asked for).
    """
    shown = _shown_size(result.image)
    bits = 8 if len(result.names) <= 256 else 16
    labels = cv2.resize(result.labels.astype(np.int32), shown, interpolation=cv2.INTER_NEAREST)
    data = labels.astype('<u1' if bits == 8 else '<u2').tobytes()
    areas = result.areas()
    present = {area.index for area in areas}
    return {
        **_picture_of(result.image, shown),
        'labels': base64.b64encode(zlib.compress(data, 3)).decode('ascii'),
        'bits': bits,
        'classes': [
            {
                'index': area.index,
                'name': area.name,
                'color': [int(channel) for channel in result.palette[area.index]],
                'share': format_share(area.share),
                'score': '–' if area.score is None else f'{area.score:.2f}',
                'is_background': area.index == result.background_index,
            }
            for area in areas
        ],
        'absent': [
            name
            for index, name in enumerate(result.names)
            if index not in present and index != result.background_index
        ],
    }


def view_without_masks(image: np.ndarray) -> dict[str, Any]:
    """As :func:`view_of`, of a picture that was not asked for anything yet.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    shown = _shown_size(image)
    data = base64.b64encode(zlib.compress(bytes(shown[0] * shown[1]), 3)).decode('ascii')
    parts = {'labels': data, 'bits': 8, 'classes': [], 'absent': []}
    return {**_picture_of(image, shown), **parts}


def file_of(
    result: SegmentationResult, kind: str, opacity: float, hidden: Collection[int]
) -> dict[str, str]:
    """A file to download.

    Args:
        result: what is in it.
        kind: of ``FILES``.
        opacity: of the paint of an overlay, in [0, 1].
        hidden: classes that an overlay leaves out; other files hold all.

    Returns:
        ``name``, ``type`` (of the content) and ``data`` (base64).

    Raises:
        UserError: no such kind.
    """
    if kind not in FILES:
        raise UserError(f'There is no file {kind!r} to download.{nearest(kind, FILES)}')
    stem = stem_of(result.source)
    with TemporaryDirectory() as folder:
        if kind == 'overlay':
            path = file_paths(folder, stem, ENDS, [kind])[kind]
            write_picture(_without(result, hidden).overlay(opacity), path, kind)
        else:
            path = result.save(folder, stem, [kind])[kind]
        return sent_file(path, FILES[kind])


def sent_file(path: Path, kind: str) -> dict[str, str]:
    """A file as the browser takes it.

    Args:
        path: read now.
        kind: of its content, such as 'image/png'.

    Returns:
        ``name``, ``type`` and ``data`` (base64).
    """
    data = base64.b64encode(path.read_bytes()).decode('ascii')
    return {'name': path.name, 'type': kind, 'data': data}


def _without(result: SegmentationResult, hidden: Collection[int]) -> SegmentationResult:
    """The result with some classes neither painted nor in the legend."""
    is_hidden = np.isin(result.labels, list(hidden))
    return replace(result, labels=np.where(is_hidden, len(result.names), result.labels))


def _shown_size(image: np.ndarray) -> tuple[int, int]:
    """(width, height) in which a picture is shown."""
    height, width = image.shape[:2]
    factor = min(1.0, SHOWN_SIDE / max(height, width))
    return max(1, round(factor * width)), max(1, round(factor * height))


def _picture_of(image: np.ndarray, shown: tuple[int, int]) -> dict[str, Any]:
    height, width = image.shape[:2]
    if shown != (width, height):
        image = cv2.resize(image, shown, interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format='JPEG', quality=_QUALITY, subsampling=0)
    source = 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode('ascii')
    return {'width': width, 'height': height, 'shown': list(shown), 'source': source}
