"""Image files of data sets as the Python interface reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from typing_extensions import override

from ovseg.errors import UserError
from ovseg.images.opening import UnknownFormat, has_end, opened
from ovseg.images.orientation import exif_orientation
from ovseg.images.reading import TIFF_STARTS, load_rgb
from ovseg.input_files import cause_of, regular_file
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

    A file without the end of its format is one that was cut off: OpenCV fills up what is missing.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`~ovseg.images.reading.load_rgb`.
    """

    @override
    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add the image to the sample."""
        name = results['img_path']
        with fileio.get_local_path(name, backend_args=self.backend_args) as path:
            path = regular_file(path, 'image')
            agree, orientation = _look_at(path)
            results['exif_orientation'] = (
                orientation if self.color_type in ('color', 'grayscale') else 1
            )
            if self.color_type != 'color' or agree:
                return self._decoded_by_mmcv(results, path)
            image = np.ascontiguousarray(load_rgb(path)[..., ::-1])
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _decoded_by_mmcv(self, results: dict[str, Any], path: Path) -> dict[str, Any] | None:
        if not has_end(path):
            load_rgb(path)  # says what is wrong, if more is missing than the mark of the end
        try:
            loaded: dict[str, Any] | None = super().transform(results)
        except Exception as error:
            if not path.stat().st_size:
                raise UserError(f'the image {path} is an empty file; get it again') from error
            raise UserError(
                f'the image {path} cannot be decoded: it is damaged, cut off or no image '
                f'({cause_of(error)}); get it again'
            ) from error
        return loaded


def _look_at(path: Path) -> tuple[bool, int]:
    """Whether OpenCV gives the colours and the side up that Pillow gives, and the orientation.

    By the file's header, nothing is decoded.
    """
    try:
        with opened(path, decode=False) as picture:
            orientation = exif_orientation(picture)
            plain = picture.mode in _SAME_MODES and 'transparency' not in picture.info
            turns = orientation == 1 or picture.format in _TURNED
            return plain and turns and picture.format not in _PILLOW_ONLY, orientation
    except UnknownFormat:
        # What Pillow does not know, OpenCV may, but for colours of 16 bits, which it cuts.
        with path.open('rb') as file:
            return file.read(4) not in TIFF_STARTS, 1
