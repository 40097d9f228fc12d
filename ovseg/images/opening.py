"""Image files opened by Pillow; whatever its decoders raise about a file is one sentence."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from ovseg.errors import UserError
from ovseg.folders import is_video_name
from ovseg.input_files import cause_of, regular_file

# Pillow has these drawn by another program, which runs what the file says.
_PROGRAMS = ('EPS',)
# How a file begins, and what stands among its last bytes; cameras write some things behind it.
_ENDS = ((b'\xff\xd8', b'\xff\xd9'), (b'\x89PNG', b'IEND'))
_TAIL = 1 << 12


class UnknownFormat(UserError):
    """A file that Pillow does not know for an image."""


@contextmanager
def opened(
    path: str | os.PathLike[str],
    content: str = 'image',
    data: IO[bytes] | None = None,
    decode: bool = True,
) -> Iterator[Image.Image]:
    """An image file for the time of a block, decoded.

    Args:
        path: of a regular file.
        content: what it should be, for messages, such as ``'mask'``.
        data: the file's bytes where they are read already; ``path`` only names them then.
        decode: False for the header alone: size, mode and format.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no regular file, no image, a damaged or cut one, one with too many pixels, or
            one that Pillow would have another program draw.
    """
    with ExitStack() as stack:
        try:
            source = regular_file(path, content) if data is None else data
            picture = stack.enter_context(_picture(source, f'{content} {path}', decode))
        except (UserError, FileNotFoundError):
            raise
        except Exception as error:
            # A decoder may raise anything, RuntimeError and MemoryError too.
            raise _sentence(error, f'{content} {path}') from error
        yield picture


def _picture(source: Path | IO[bytes], where: str, decode: bool) -> Image.Image:
    with warnings.catch_warnings():
        # Of damaged metadata that nobody asked for, and of pictures half as large as refused.
        warnings.simplefilter('ignore')
        if isinstance(source, Path) and not source.stat().st_size:
            raise UserError(f'The {where} is an empty file.')
        picture = Image.open(source)
        if picture.format in _PROGRAMS:
            picture.close()
            raise UserError(
                f'The {where} is {picture.format}, which is a program: convert it to PNG.'
            )
        if decode:
            picture.load()
    return picture


def _sentence(error: Exception, where: str) -> UserError:
    if isinstance(error, UnidentifiedImageError) and is_video_name(where):
        return UnknownFormat(
            f'The {where} is a video: name it alone and `ovseg segment` reads its frames; in '
            'Python give them as arrays (ovseg.images.video.Video).'
        )
    if isinstance(error, UnidentifiedImageError):
        return UnknownFormat(f'The {where} is not an image that can be read.')
    if isinstance(error, Image.DecompressionBombError):
        return too_large(where)
    return UserError(f'The {where} is damaged or cut off ({cause_of(error)}).')


def too_large(where: str) -> UserError:
    """What to say of an image with more pixels than Pillow takes.

    Args:
        where: what and which file it is.
    """
    return UserError(
        f'The {where} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels: '
        'shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.'
    )


def has_end(path: Path) -> bool:
    """Whether a JPEG or PNG file is there to its end; others are taken to be.

    Args:
        path: of a regular file.
    """
    with path.open('rb') as file:
        start = file.read(8)
        for begin, end in _ENDS:
            if start.startswith(begin):
                file.seek(max(0, path.stat().st_size - _TAIL))
                return end in file.read(_TAIL)
    return True
