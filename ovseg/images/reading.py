"""Images of any kind as RGB: files, PIL images, NumPy arrays, torch tensors."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from ovseg.errors import UserError
from ovseg.folders import IMAGE_SUFFIXES
from ovseg.images.finding import find_images
from ovseg.images.opening import UnknownFormat, opened, too_large
from ovseg.input_files import cause_of, refuse_address, regular_file, similar_file

if TYPE_CHECKING:
    import torch

ImageSource: TypeAlias = (
    'str | os.PathLike[str] | ImageBytes | Image.Image | np.ndarray | torch.Tensor'
)

# For callers of before.
__all__ = ['IMAGE_SUFFIXES', 'ImageBytes', 'ImageSource', 'find_images', 'load_rgb', 'name_of']

# Little and big endian.
TIFF_STARTS = (b'II*\0', b'MM\0*')
_IN_MEMORY = 'the image in memory'


@dataclass(frozen=True)
class ImageBytes:
    """The bytes of an image file that lies elsewhere: in a table, an archive, an answer.

    Attributes:
        data: as in the file.
        name: what the image is called.
    """

    data: bytes
    name: str


def load_rgb(source: ImageSource) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB.

    Files are turned upright as their EXIF tag says. Transparent images are laid on white. Palette,
    grey, CMYK and other colour spaces become RGB. 16-bit values are divided by 257 (the full range
    of 16 bits becomes the full range of 8, nothing is stretched). Of several frames or pages the
    first is taken.

    Args:
        source: a file's path, or its bytes; a PIL image; an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) in RGB order; or a tensor (1, H, W), (3, H, W), (4, H, W) or (H, W). Arrays
            and tensors hold bool, uint8, uint16 or float in [0, 1]. OpenCV reads BGR: turn it
            with ``array[..., ::-1]``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is no image, is cut off, or is too large to decode; or the values or
            shape of an array are none of the above.
        TypeError: none of the kinds above.
    """
    if isinstance(source, (str, os.PathLike)):
        refuse_address(str(source), 'image')
        return _load_file(Path(source))
    if isinstance(source, ImageBytes):
        return decode_rgb(source.data, source.name)
    if isinstance(source, Image.Image):
        return _from_pil(source, _IN_MEMORY)
    if isinstance(source, np.ndarray):
        return _from_array(source, _IN_MEMORY)
    import torch  # finding files takes a moment, and torch seconds

    if isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        array = tensor.numpy()
        return _from_array(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, _IN_MEMORY)
    raise TypeError(
        'An image is a path, ImageBytes, a PIL image, a NumPy array or a torch tensor, '
        f'not {type(source).__name__}.'
    )


def decode_rgb(data: bytes, name: str) -> np.ndarray:
    """As :func:`load_rgb`, of the bytes of a file that is none of this machine's.

    Args:
        data: the file's content.
        name: what it is called, for messages.

    Raises:
        UserError: no image, a damaged or cut one, or one that is too large to decode.
    """
    if not data:
        raise UserError(f'The image {name} is empty.')
    try:
        with opened(name, data=io.BytesIO(data)) as picture:
            return _from_pil(picture, name)
    except UnknownFormat:
        decoded = _decode_tiff(data, name)
        if decoded is None:
            raise
        return _from_array(decoded, name)


def name_of(source: ImageSource) -> str:
    """What to call an image in messages: its path or name, or 'the image in memory'."""
    if isinstance(source, ImageBytes):
        return source.name
    return str(source) if isinstance(source, (str, os.PathLike)) else _IN_MEMORY


def _load_file(path: Path) -> np.ndarray:
    try:
        path = regular_file(path, 'image')
    except FileNotFoundError:
        raise FileNotFoundError(f'There is no image {path}.{similar_file(path)}') from None
    try:
        with opened(path) as picture:
            return _from_pil(picture, str(path))
    except UnknownFormat:
        decoded = _decode_tiff(path.read_bytes(), str(path))
        if decoded is None:
            raise
        return _from_array(decoded, str(path))


def _decode_tiff(data: bytes, name: str) -> np.ndarray | None:
    """(H, W[, 3 or 4]) RGB of a TIFF file that Pillow does not know (16-bit colour), else None."""
    if not data.startswith(TIFF_STARTS):
        return None
    try:
        _check_tiff_size(data, name)
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is not None and array.ndim == 3:
            order = cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB
            array = cv2.cvtColor(array, order)
    except UserError:
        raise
    except Exception:
        return None
    return array


def _check_tiff_size(data: bytes, name: str) -> None:
    """Stops at more pixels than Pillow takes; a few bytes can unfold to any number."""
    fields = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    stream = io.BytesIO(data)
    stream.seek(fields.next)
    fields.load(stream)
    pixels = fields[TiffImagePlugin.IMAGEWIDTH] * fields[TiffImagePlugin.IMAGELENGTH]
    if Image.MAX_IMAGE_PIXELS is not None and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        raise too_large(f'image {name}')


def _from_pil(picture: Image.Image, name: str) -> np.ndarray:
    mode = picture.mode
    try:
        return _as_rgb(picture, name)
    except UserError:
        raise
    except Exception as error:
        # One in memory may still have its file to decode.
        raise UserError(
            f'{_sentence_start(name)} is damaged, or its mode {mode} cannot become RGB '
            f'({cause_of(error)}).'
        ) from error


def _as_rgb(picture: Image.Image, name: str) -> np.ndarray:
    if 0 in picture.size:
        raise UserError(f'{_sentence_start(name)} has no pixels ({picture.size}).')
    picture = _upright(picture)
    if picture.mode.startswith(('I', 'F')):
        return _from_array(_high_depth(picture, name), name)
    has_alpha = picture.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or (
        'transparency' in picture.info
    )
    if has_alpha:
        return _on_white(np.asarray(picture.convert('RGBA')))
    if picture.mode == 'LAB':
        lab = np.asarray(picture)
        # Pillow stores a and b as signed bytes, OpenCV with an offset of 128.
        shifted = np.dstack([lab[..., 0], lab[..., 1] + 128, lab[..., 2] + 128]).astype(np.uint8)
        return cv2.cvtColor(shifted, cv2.COLOR_LAB2RGB)
    return np.array(picture.convert('RGB'))


def _upright(picture: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return ImageOps.exif_transpose(picture)
        except Exception:
            return picture  # metadata that cannot be read ask for nothing


def _high_depth(picture: Image.Image, name: str) -> np.ndarray:
    """Modes with more than 8 bits a pixel: (H, W) uint16, or float in [0, 1]."""
    array = np.asarray(picture)
    if array.dtype == np.int32:
        if array.min() < 0 or array.max() > 65535:
            raise UserError(
                f'{_sentence_start(name)} has values from {array.min()} to {array.max()}, beyond '
                '16 bits: convert it to 8 bits.'
            )
        return array.astype(np.uint16)
    if array.dtype.kind == 'f' and array.size and 1 < np.nanmax(array) <= 255:
        return array / 255  # Grey float files hold [0, 1] or [0, 255].
    return array.astype(np.uint16) if array.dtype.kind == 'u' and array.itemsize == 2 else array


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UserError(
            f'{_sentence_start(name)} has the shape {_shape(array)}: wanted are (height, width) or '
            '(height, width, 1, 3 or 4) for arrays, (1, 3 or 4, height, width) for tensors.'
        )
    array = _to_uint8(array, name)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return _on_white(array) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind != 'f':
        raise UserError(
            f'{_sentence_start(name)} holds {array.dtype} values: give uint8, uint16, '
            'or float in [0, 1].'
        )
    if not np.isfinite(array).all():
        raise UserError(f'{_sentence_start(name)} has values that are not finite numbers.')
    low, high = float(array.min()), float(array.max())
    # Interpolation leaves hair's breadths beyond the range.
    if low < -1e-3 or high > 1 + 1e-3:
        raise UserError(
            f'{_sentence_start(name)} has float values from {low:.3g} to {high:.3g}: wanted is '
            '[0, 1]; give uint8 if they mean [0, 255].'
        )
    return (array.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _shape(array: np.ndarray) -> str:
    return '(' + ', '.join(map(str, array.shape)) + ')'


def _sentence_start(name: str) -> str:
    return name[0].upper() + name[1:] if name == _IN_MEMORY else f'The image {name}'
