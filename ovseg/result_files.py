"""The mark in every file of results, by which ovseg knows its own work again.

A picture that ovseg painted must not be segmented with a folder's photographs, and a file that a
user made must not be replaced by one of ovseg's. Names tell neither: ``a_overlay.png`` may be
anybody's.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zipfile
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

# Whoever plans names asks for marks, and needs no pictures for that.
if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

_KEYWORD = 'ovseg-result'
_MADE_BY = ('made_by', 'ovseg')
_SCORE_ARRAYS = {'scores.npy', 'names.npy'}
_PNG_START = b'\x89PNG\r\n\x1a\n'
# Chunks before the pixels: a handful in any file.
_MOST_CHUNKS = 64
_JSON_START = 200
_TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_TIFF_SOFTWARE = 305
_MOST_TAGS = 1000
_SQLITE_START = b'SQLite f'
# What readers raise on files that are none of theirs.
_UNREADABLE = (
    *(OSError, ValueError, NotImplementedError),
    *(zipfile.BadZipFile, struct.error, sqlite3.Error),
)
# The one layer of a GeoPackage of results.
GEOPACKAGE_LAYER = 'ovseg_labels'


def png_mark(kind: str) -> PngInfo:
    """What Pillow's ``save(..., pnginfo=...)`` writes into a PNG file of results.

    Args:
        kind: what the picture is, such as 'overlay'.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(_KEYWORD, kind)
    return info


def marked_json(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a JSON file of results, with the mark as its first key."""
    return {_MADE_BY[0]: _MADE_BY[1], **content}


def is_result(path: str | os.PathLike[str]) -> bool:
    """Whether a file was written by ovseg as a result: one with its mark, of a kind that it writes.

    Files that cannot be read, and files of versions that wrote no mark, are none.
    """
    path = Path(path)
    try:
        if not os.path.isfile(path):
            return False
        with path.open('rb') as file:
            start = file.read(len(_PNG_START))
            if start == _PNG_START:
                return _has_png_mark(file)
            if start.startswith(b'{'):
                key, value = _MADE_BY
                head = (start + file.read(_JSON_START)).lstrip(b'{').lstrip()
                return head.startswith(f'"{key}": "{value}"'.encode())
            if start.startswith(_TIFF_STARTS):
                return _has_tiff_mark(file)
            if start == _SQLITE_START:
                return _has_geopackage_mark(path)
            if start.startswith(b'PK'):
                with zipfile.ZipFile(file) as archive:
                    return set(archive.namelist()) == _SCORE_ARRAYS
    except _UNREADABLE:
        return False
    return False


def _has_tiff_mark(file: IO[bytes]) -> bool:
    """Whether a TIFF file names ovseg as the software that made it, in its first directory."""
    file.seek(0)
    start = file.read(16)
    order = '<' if start.startswith(b'II') else '>'
    is_big = start[2:4] in (b'+\0', b'\0+')
    if is_big:
        place, count, entry = '8xQ', 'Q', 'HHQ8s'
    else:
        place, count, entry = '4xI', 'H', 'HHI4s'
    (first,) = struct.unpack_from(order + place, start)
    file.seek(first)
    count_size, entry_size = struct.calcsize(order + count), struct.calcsize(order + entry)
    (entries,) = struct.unpack(order + count, file.read(count_size))
    table = file.read(min(entries, _MOST_TAGS) * entry_size)
    for tag, _, length, value in struct.iter_unpack(order + entry, table):
        if tag == _TIFF_SOFTWARE and length == len(_MADE_BY[1]) + 1:
            text = value
            if length > len(value):  # then the value is where it stands
                file.seek(int.from_bytes(value, 'little' if order == '<' else 'big'))
                text = file.read(length)
            return text.startswith(_MADE_BY[1].encode() + b'\0')
    return False


def _has_geopackage_mark(path: Path) -> bool:
    with closing(sqlite3.connect(f'{path.absolute().as_uri()}?mode=ro', uri=True)) as database:
        layers = database.execute('SELECT table_name FROM gpkg_contents').fetchall()
    return layers == [(GEOPACKAGE_LAYER,)]


def _has_png_mark(file: Any) -> bool:
    """Whether one of the chunks before the pixels is the mark."""
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return False
        length, kind = struct.unpack('>I4s', head)
        if kind == b'tEXt':
            # The keyword ends with a zero byte.
            keyword = file.read(min(length, len(_KEYWORD) + 1))
            if keyword == _KEYWORD.encode() + b'\0':
                return True
            file.seek(length - len(keyword) + 4, os.SEEK_CUR)
        elif kind in (b'IDAT', b'IEND'):
            return False
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return False
