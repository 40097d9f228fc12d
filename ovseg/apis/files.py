"""Files of results: named by the image and the kind, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovseg.errors import UserError, nearest
from ovseg.files import written_whole


def check_kinds(kinds: Collection[str], known: Sequence[str]) -> list[str]:
    """The kinds of files, in their usual order.

    Args:
        kinds: what is wanted.
        known: what there is, in order.

    Raises:
        UserError: one of them is unknown.
    """
    for kind in kinds:
        if kind not in known:
            raise UserError(
                f'{kind!r} cannot be saved, use {", ".join(known)}.' + nearest(kind, known)
            )
    return [kind for kind in known if kind in kinds]


def stem_of(source: str) -> str:
    """How the files of an image begin: its file name without the suffix, or 'image'."""
    return Path(source).stem or 'image'


def file_paths(
    folder: str | Path, stem: str, ends: Mapping[str, str], what: Collection[str]
) -> dict[str, Path]:
    """Where files of some kinds go, by kind in the order of ``ends``.

    Args:
        folder: of the files.
        stem: how they begin.
        ends: how they end, by kind.
        what: the kinds wanted.

    Raises:
        UserError: a kind that has no end.
    """
    kinds = check_kinds(what, tuple(ends))
    return {kind: Path(folder) / f'{stem}{ends[kind]}' for kind in kinds}


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Write (H, W, 3) uint8 RGB as a PNG file."""
    with written_whole(path) as temporary:
        Image.fromarray(picture).save(temporary, format='PNG')


def write_json(content: Any, path: Path) -> None:
    """Write plain values as a JSON file that people can read."""
    with written_whole(path) as temporary:
        text = json.dumps(content, ensure_ascii=False, indent=2)
        temporary.write_text(text + '\n', encoding='utf-8')
