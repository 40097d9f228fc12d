"""Files that somebody gives for an image, a label map, a text or an annotation file and are none.

Each maker writes one into a folder and returns its path. `ANY` are broken for every reader.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Maker = Callable[[Path], Path]
ANY: dict[str, Maker] = {}
IMAGES: dict[str, Maker] = {}
LABELS: dict[str, Maker] = {}
TEXTS: dict[str, Maker] = {}
JSONS: dict[str, Maker] = {}


def of(table: dict[str, Maker]) -> Callable[[Maker], Maker]:
    """Puts a maker into a table under its name."""

    def put(maker: Maker) -> Maker:
        table[maker.__name__] = maker
        return maker

    return put


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# For every reader ---------------------------------------------------------------------------


@of(ANY)
def empty(folder: Path) -> Path:
    return written(folder / 'empty.png', b'')


@of(ANY)
def directory(folder: Path) -> Path:
    (folder / 'directory.png').mkdir()
    return folder / 'directory.png'


@of(ANY)
def pipe(folder: Path) -> Path:
    os.mkfifo(folder / 'pipe.png')
    return folder / 'pipe.png'


@of(ANY)
def device(folder: Path) -> Path:
    (folder / 'device.png').symlink_to('/dev/zero')
    return folder / 'device.png'


@of(ANY)
def link_to_itself(folder: Path) -> Path:
    (folder / 'loop.png').symlink_to(folder / 'loop.png')
    return folder / 'loop.png'


@of(ANY)
def missing(folder: Path) -> Path:
    return folder / 'missing.png'


@of(ANY)
def file_as_a_folder(folder: Path) -> Path:
    return written(folder / 'file', b'x') / 'below.png'


@of(ANY)
def name_too_long(folder: Path) -> Path:
    return folder / f'{"x" * 300}.png'


@of(ANY)
def name_with_a_zero_byte(folder: Path) -> Path:
    return folder / 'zero\0byte.png'


@of(ANY)
def name_that_is_no_unicode(folder: Path) -> Path:
    return folder / os.fsdecode(b'caf\xe9.png')


@of(ANY)
def zeros(folder: Path) -> Path:
    return written(folder / 'zeros.png', bytes(5000))


# Images -------------------------------------------------------------------------------------


@of(IMAGES)
def words_called_an_image(folder: Path) -> Path:
    return written(folder / 'words.png', b'version https://git-lfs.github.com/spec/v1')


def cut(folder: Path, name: str, share: float = 0.6) -> Path:
    path = folder / name
    Image.fromarray(noise(64, 64, 3)).save(path)
    content = path.read_bytes()
    return written(path, content[: int(len(content) * share)])


for suffix in ('png', 'jpg', 'webp', 'tif', 'bmp', 'gif', 'avif', 'ppm', 'jp2'):

    def cut_file(folder: Path, suffix: str = suffix) -> Path:
        return cut(folder, f'cut.{suffix}')

    IMAGES[f'cut_{suffix}'] = cut_file


@of(IMAGES)
def cut_before_its_end_mark(folder: Path) -> Path:
    """OpenCV fills such a file up with grey."""
    return cut(folder, 'nearly.jpg', 0.9)


@of(IMAGES)
def cut_behind_its_thumbnail(folder: Path) -> Path:
    """The end mark of the thumbnail is there, the picture's is not."""
    small = io.BytesIO()
    Image.fromarray(noise(16, 16, 3)).save(small, 'JPEG')
    path = folder / 'thumbnail.jpg'
    part = b'Exif\0\0' + small.getvalue()
    Image.fromarray(noise(128, 128, 3)).save(path, 'JPEG', quality=95)
    content = path.read_bytes()
    marked = content[:2] + b'\xff\xe1' + struct.pack('>H', len(part) + 2) + part + content[2:]
    return written(path, marked[: len(marked) * 2 // 3])


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def bomb(bits: int, colour: int) -> bytes:
    header = struct.pack('>IIBBBBB', 60000, 60000, bits, colour, 0, 0, 0)
    return png((b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b''))


@of(IMAGES)
def bomb_of_colours(folder: Path) -> Path:
    return written(folder / 'bomb.png', bomb(8, 2))


@of(IMAGES)
def bomb_of_numbers(folder: Path) -> Path:
    return written(folder / 'bomb_grey.png', bomb(16, 0))


@of(IMAGES)
def bomb_of_16_bit_colours(folder: Path) -> Path:
    """A TIFF that Pillow does not know and OpenCV would unfold."""
    fields = [
        (256, 4, 1, 60000),
        (257, 4, 1, 60000),
        (258, 3, 1, 16),
        (259, 3, 1, 8),
        (262, 3, 1, 2),
        (273, 4, 1, 200),
        (277, 3, 1, 3),
        (278, 4, 1, 60000),
        (279, 4, 1, 100),
        (339, 3, 1, 5),
    ]
    directory = struct.pack('<H', len(fields))
    directory += b''.join(struct.pack('<HHII', *field) for field in fields) + bytes(4)
    data = zlib.compress(bytes(10000))
    content = (b'II*\0' + struct.pack('<I', 8) + directory).ljust(200, b'\0') + data
    return written(folder / 'bomb.tif', content)


@of(IMAGES)
def program_that_draws(folder: Path) -> Path:
    content = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n'
    return written(folder / 'program.eps', content)


@of(IMAGES)
def png_of_bad_deflate(folder: Path) -> Path:
    header = struct.pack('>IIBBBBB', 9, 9, 8, 2, 0, 0, 0)
    content = png((b'IHDR', header), (b'IDAT', b'\xff' * 80), (b'IEND', b''))
    return written(folder / 'deflate.png', content)


@of(IMAGES)
def png_of_bad_sums(folder: Path) -> Path:
    path = folder / 'sums.png'
    Image.fromarray(noise(40, 40, 3)).save(path)
    content = bytearray(path.read_bytes())
    content[200:210] = b'0123456789'
    return written(path, bytes(content))


@of(IMAGES)
def without_pixels(folder: Path) -> Path:
    return written(folder / 'none.ppm', b'P6\n0 0\n255\n')


# Label maps that are images, but not such ones -------------------------------------------------


@of(LABELS)
def colours(folder: Path) -> Path:
    Image.fromarray(noise(6, 8, 3)).save(folder / 'colours.png')
    return folder / 'colours.png'


@of(LABELS)
def fractions(folder: Path) -> Path:
    Image.fromarray(noise(6, 8).astype(np.float32)).save(folder / 'fractions.tif')
    return folder / 'fractions.tif'


@of(LABELS)
def inexact(folder: Path) -> Path:
    Image.fromarray(noise(6, 8) % 3).save(folder / 'inexact.jpg')
    return folder / 'inexact.jpg'


@of(LABELS)
def of_another_size(folder: Path) -> Path:
    Image.fromarray(noise(8, 6) % 3).save(folder / 'size.png')
    return folder / 'size.png'


@of(LABELS)
def grey_and_transparent(folder: Path) -> Path:
    Image.fromarray(noise(6, 8, 2), 'LA').save(folder / 'transparent.png')
    return folder / 'transparent.png'


# Texts ----------------------------------------------------------------------------------------


@of(TEXTS)
def latin_1(folder: Path) -> Path:
    return written(folder / 'latin.txt', 'filepath\ttitle\na.png\tcafé\n'.encode('latin-1'))


@of(TEXTS)
def utf_16(folder: Path) -> Path:
    return written(folder / 'utf16.txt', 'filepath\ttitle\na.png\tcat\n'.encode('utf-16'))


@of(TEXTS)
def text_with_zero_bytes(folder: Path) -> Path:
    return written(folder / 'zero.txt', b'filepath\ttitle\na.png\tc\0t\n')


@of(TEXTS)
def picture_called_text(folder: Path) -> Path:
    Image.fromarray(noise(9, 9, 3)).save(folder / 'picture.png')
    return (folder / 'picture.png').rename(folder / 'picture.txt')


# JSON -----------------------------------------------------------------------------------------

COCO = {
    'images': [{'id': 1, 'file_name': 'a.png', 'height': 6, 'width': 8}],
    'categories': [{'id': 1, 'name': 'cat'}],
    'annotations': [
        {
            'id': 1,
            'image_id': 1,
            'category_id': 1,
            'bbox': [0, 0, 4, 4],
            'area': 16,
            'iscrowd': 0,
            'segmentation': [[0, 0, 4, 0, 4, 4]],
        }
    ],
}


@of(JSONS)
def cut_json(folder: Path) -> Path:
    return written(folder / 'cut.json', json.dumps(COCO).encode()[:-40])


@of(JSONS)
def deep_json(folder: Path) -> Path:
    return written(folder / 'deep.json', b'[' * 200_000)


@of(JSONS)
def json_of_nan(folder: Path) -> Path:
    return written(folder / 'nan.json', json.dumps({**COCO, 'x': float('nan')}).encode())


@of(JSONS)
def json_of_a_huge_number(folder: Path) -> Path:
    return written(folder / 'huge.json', b'{"images": ' + b'9' * 10_000 + b'}')


@of(JSONS)
def json_of_another_form(folder: Path) -> Path:
    return written(folder / 'form.json', b'[1, 2, 3]')


@of(JSONS)
def json_of_null(folder: Path) -> Path:
    return written(folder / 'null.json', b'null')


def changed(table: str, **values: object) -> Maker:
    """An annotation file in which one entry has other values."""

    def make(folder: Path) -> Path:
        content = {**COCO, table: [{**COCO[table][0], **values}]}
        return written(folder / 'changed.json', json.dumps(content).encode())

    return make


COCOS: dict[str, Maker] = {
    'names_that_are_numbers': changed('images', file_name=7),
    'ids_that_are_lists': changed('images', id=[1]),
    'sides_that_are_text': changed('images', height='6'),
    'categories_without_name': changed('categories', name=None),
    'boxes_that_are_text': changed('annotations', bbox='0 0 4 4'),
    'boxes_of_three': changed('annotations', bbox=[0, 0, 4]),
    'unknown_image': changed('annotations', image_id=5),
    'unknown_category': changed('annotations', category_id=9),
    'polygons_that_are_text': changed('annotations', segmentation=['0 0 4 4']),
    'run_lengths_without_size': changed('annotations', segmentation={'counts': 'abc'}),
    'areas_that_are_text': changed('annotations', area='16'),
}
