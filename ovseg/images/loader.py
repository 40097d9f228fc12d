"""Image files of data sets as the Python interface reads them."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image
from typing_extensions import override

from ovseg.images.orientation import exif_orientation
from ovseg.images.reading import load_rgb
from ovseg.registry import TRANSFORMS

# In these, OpenCV and Pillow see the same colours, unless a colour means transparent.
_SAME_MODES = ('1', 'L', 'P', 'RGB')
# Formats that OpenCV turns upright.
_TURNED = ('JPEG', 'MPO', 'PNG', 'TIFF')
# Formats that not every build of OpenCV reads.
_PILLOW_ONLY = ('GIF', 'TGA', 'AVIF')


@TRANSFORMS.register_module(name='LoadImageFromFile')
class ImageLoader(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile``, with the pixels of :func:`~ovseg.images.reading.load_rgb`.

    mmcv decodes by OpenCV, which drops transparency, turns CMYK into RGB by a rule of its own,
    cuts 16 bits to their upper 8 and knows neither GIF nor float files. Such files are read by
    Pillow here, so that training, testing and the Python interface see one picture. All others are
    decoded by mmcv, whose JPEG decoder is the one of published numbers.

    Pictures are turned upright as their EXIF tag says, by whatever decoder.

    Required key: ``img_path``. Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``,
    ``ori_shape``, and ``exif_orientation``, 1 to 8, by which the picture was turned.

    Args:
        as those of mmcv's. With a ``color_type`` other than ``'color'`` everything is left to mmcv.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`~ovseg.images.reading.load_rgb`.
    """

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add the image to the sample."""
        name = results['img_path']
        with fileio.get_local_path(name, backend_args=self.backend_args) as path:
            agree, orientation = _look_at(path)
            results['exif_orientation'] = (
                orientation if self.color_type in ('color', 'grayscale') else 1
            )
            if self.color_type != 'color' or agree:
                loaded: dict[str, Any] | None = super().transform(results)
                return loaded
            image = np.ascontiguousarray(load_rgb(path)[..., ::-1])
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


def _look_at(path: str | os.PathLike[str]) -> tuple[bool, int]:
    """Whether OpenCV gives the colours and the side up that Pillow gives, and the orientation.

    By the file's header, nothing is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # mmcv's decoder or load_rgb say what is wrong
            with Image.open(path) as picture:
                orientation = exif_orientation(picture)
                plain = picture.mode in _SAME_MODES and 'transparency' not in picture.info
                turns = orientation == 1 or picture.format in _TURNED
                return plain and turns and picture.format not in _PILLOW_ONLY, orientation
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return True, 1
