"""NumPy's files: arrays of numbers, never of objects, and never more than was asked for."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

_MAGIC = b'\x93NUMPY'
# A file of arrays may unfold to this many times its own size, or to so many bytes.
_UNFOLDS = 20
_ALWAYS_ALLOWED = 1 << 26


def is_array(start: bytes) -> bool:
    """Whether a file begins as an ``.npy`` does."""
    return start.startswith(_MAGIC)


def is_archive_of_arrays(names: list[str]) -> bool:
    """Whether members of a zip archive are those of an ``.npz``."""
    return bool(names) and all(name.endswith('.npy') for name in names)


def read_array(path: Path, name: str | None = None, most: int | None = None) -> np.ndarray:
    """One array of a file.

    Args:
        path: a regular file, ``.npy`` or ``.npz`` by its content.
        name: of the array in an ``.npz``.
        most: bytes that it may have; None for what is sensible for the file's size.

    Raises:
        ValueError: objects, more than allowed, or no such file or array.
        zipfile.BadZipFile: the archive is damaged.
    """
    size = path.stat().st_size
    most = max(_UNFOLDS * size, _ALWAYS_ALLOWED) if most is None else most
    with path.open('rb') as file:
        if is_array(file.read(len(_MAGIC))):
            file.seek(0)
            return _read(file, min(most, size))
        with zipfile.ZipFile(file) as archive:
            if f'{name}.npy' not in archive.namelist():
                raise ValueError(f"it has no array '{name}'")
            with archive.open(f'{name}.npy') as member:
                return _read(member, most)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz``.

    Args:
        path: a regular file.

    Raises:
        ValueError: see :func:`read_array`.
        zipfile.BadZipFile: the archive is damaged.
    """
    left = max(_UNFOLDS * os.path.getsize(path), _ALWAYS_ALLOWED)
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                array = arrays[name.removesuffix('.npy')] = _read(member, left)
            left -= array.nbytes
    return arrays


def _read(file: IO[bytes], most: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, in_columns, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError('it holds records, not an array of numbers')
    if dtype.kind not in 'biufc':
        raise ValueError(f'it holds {dtype}, not numbers')
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > most:
        raise ValueError(f'it claims {wanted} bytes, of which {most} can be right')
    data = bytearray(wanted)
    got = 0
    while got < wanted and (piece := file.read(min(wanted - got, 1 << 22))):
        data[got : got + len(piece)] = piece
        got += len(piece)
    # Behind the end: there the sums of an archive are compared.
    if got < wanted or file.read(1):
        raise ValueError('it has another length than its header says')
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if in_columns else flat.reshape(shape)
