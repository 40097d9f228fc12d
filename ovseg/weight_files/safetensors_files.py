"""Safetensors: a header in JSON, then the numbers; read without mapping the file.

A file that is cut while it is mapped ends the process, one that is cut while it is read an error.

Source: the format's own description, https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# The format's own limit of a header, in bytes.
_LONGEST_HEADER = 100_000_000
_DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'F8_E4M3': torch.float8_e4m3fn,
    'F8_E5M2': torch.float8_e5m2,
    'C64': torch.complex64,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U64': torch.uint64,
    'U32': torch.uint32,
    'U16': torch.uint16,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file begins as the format does.

    Args:
        start: the first nine bytes, at least.
        size: of the file, in bytes.
    """
    return start[8:9] == b'{' and 2 <= int.from_bytes(start[:8], 'little') <= size - 8


def read_safetensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, each with memory of its own.

    Args:
        path: of a regular file.
        wanted: says of a name whether its tensor is read; None for all.

    Raises:
        ValueError: the file is not of the format, or not whole.
    """
    with path.open('rb') as file:
        header, length, size = _read_header(file)
        header.pop('__metadata__', None)
        entries = {name: _Entry(name, entry) for name, entry in header.items()}
        _check_places(entries, size - 8 - length)
        return {
            name: entry.read(file, 8 + length)
            for name, entry in entries.items()
            if wanted is None or wanted(name)
        }


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    """What a file says of itself beside its tensors.

    Args:
        path: of a regular file.

    Raises:
        ValueError: the file is not of the format.
    """
    with path.open('rb') as file:
        metadata = _read_header(file)[0].get('__metadata__', {})
    if not isinstance(metadata, dict):
        raise ValueError('its metadata are no table')
    return {str(name): str(value) for name, value in metadata.items()}


def _read_header(file: BufferedReader) -> tuple[dict[str, Any], int, int]:
    """The header, its length and the file's, in bytes."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), 'little')
    if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
        raise ValueError(f'a header of {length} bytes in a file of {size}')
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError('its header is no table')
    return header, length, size


class _Entry:
    """What the header says of one tensor."""

    def __init__(self, name: str, entry: Any) -> None:
        try:
            self.dtype = _DTYPES[entry['dtype']]
            self.shape = [_natural(side) for side in entry['shape']]
            self.begin, self.end = (_natural(place) for place in entry['data_offsets'])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"its header says nothing sensible of '{name[:80]}'") from error
        if self.end - self.begin != math.prod(self.shape) * self.dtype.itemsize:
            raise ValueError(f"'{name[:80]}' has another size than its shape")

    def read(self, file: BufferedReader, start: int) -> Tensor:
        flat = torch.empty(math.prod(self.shape), dtype=self.dtype)
        if len(flat):
            file.seek(start + self.begin)
            if file.readinto(flat.view(torch.uint8).numpy().data) != self.end - self.begin:
                raise ValueError('it is cut off')
        return flat.reshape(self.shape)


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _check_places(entries: dict[str, _Entry], size: int) -> None:
    """The tensors lie one behind the other and fill the file."""
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != place:
            raise ValueError('its tensors overlap, or leave gaps')
        place = entry.end
    if place != size:
        raise ValueError(f'its tensors have {place} bytes, the file has {size} for them')
