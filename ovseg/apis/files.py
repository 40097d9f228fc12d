"""Files of results: named by the image and the kind, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovseg.apis.kinds import check_kinds, longest_end
from ovseg.file_names import fitting_stem, longest_name
from ovseg.files import written_whole
from ovseg.result_files import marked_json, png_mark

# zlib's level 3 takes less than half the time of its usual 6 for a tenth more bytes.
_COMPRESSION = 3


def stem_of(source: str) -> str:
    """How the files of an image begin: its file name without the suffix, or 'image'."""
    return Path(source).stem or 'image'


def file_paths(
    folder: str | Path, stem: str, ends: Mapping[str, str], what: Collection[str]
) -> dict[str, Path]:
    """Where files of some kinds go, by kind in the order of ``ends``.

    Args:
        folder: of the files.
        stem: how they begin; shortened if a name would be longer than the disk takes.
        ends: how they end, by kind.
        what: the kinds wanted.

    Raises:
        UserError: a kind that has no end.
    """
    kinds = check_kinds(what, tuple(ends))
    stem = fitting_stem(stem, longest_name(folder) - longest_end(ends.values()))
    return {kind: Path(folder) / f'{stem}{ends[kind]}' for kind in kinds}


def write_picture(picture: np.ndarray, path: Path, kind: str) -> None:
    """Write (H, W, 3) uint8 RGB as a PNG file with the mark of results.

    Args:
        picture: the pixels.
        path: the file to write.
        kind: what it shows, for the mark.
    """
    with written_whole(path) as temporary:
        Image.fromarray(picture).save(
            temporary, format='PNG', pnginfo=png_mark(kind), compress_level=_COMPRESSION
        )


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write plain values as a JSON file that people can read, with the mark of results."""
    write_text(json.dumps(marked_json(content), ensure_ascii=False, indent=2) + '\n', path)


def write_text(text: str, path: Path) -> None:
    """Write a text file, which has no mark unless the text holds one."""
    # Bytes of a file's name that are no Unicode become escapes that any JSON reader knows.
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def write_long_json(content: Mapping[str, Any], path: Path) -> None:
    """As :func:`write_json`, for lists that memory may not hold.

    Args:
        content: plain values; an iterator becomes a list with a line for each item, which is
            written as it comes.
        path: the file to write.
    """
    with written_whole(path) as temporary, temporary.open('w', encoding='ascii') as file:
        before = '{'
        for key, value in marked_json(dict(content)).items():
            file.write(f'{before}\n{json.dumps(key)}: ')
            before = ','
            if not isinstance(value, Iterator):
                file.write(json.dumps(value))
                continue
            between = '['
            for item in value:
                file.write(f'{between}\n{json.dumps(item)}')
                between = ','
            file.write(']' if between == ',' else '[]')
        file.write('\n}\n')
