"""Annotation files in COCO's format, looked through where mmdet or pycocotools fail on one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import read_json

_CONTENT = 'annotation file'
_TABLES = ('images', 'annotations', 'categories')


@contextmanager
def annotations_explained(config: Mapping[str, Any]) -> Iterator[None]:
    """Says what is wrong with the annotation files of a config where that ended the block.

    mmdet's loader and pycocotools read what they need and raise a KeyError or TypeError on the
    rest; good files are never looked at here.

    Args:
        config: its ``ann_file`` settings that end in ``.json`` are looked at.

    Raises:
        UserError: an annotation file is no JSON, or not in COCO's format.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        for path in _annotation_files(config):
            if not os.path.exists(path) or _is_panoptic(path):
                continue
            try:
                check_coco(path)
            except UserError as problem:
                raise problem from error
        raise


def check_coco(path: str | Path) -> None:
    """Looks through an annotation file.

    Args:
        path: JSON with ``images``, ``annotations`` and ``categories``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no JSON, or names the first entry that is not as COCO's format has it.
    """
    content = read_json(path, _CONTENT)
    if not isinstance(content, dict):
        raise UserError(f'{path} is not in the format of COCO: it holds no object with images')
    for table in _TABLES:
        if not isinstance(content.get(table), list):
            raise UserError(f"{path} is not in the format of COCO: it has no list '{table}'")
    known: dict[str, set[Any]] = {}
    for table in ('images', 'categories'):
        known[table] = set()
        for number, entry in enumerate(content[table]):
            problem = _entry_problem(entry, table)
            if problem:
                raise UserError(f'{path}, {table}[{number}]: {problem}')
            known[table].add(entry['id'])
    for number, entry in enumerate(content['annotations']):
        problem = _annotation_problem(entry, known)
        if problem:
            raise UserError(f'{path}, annotations[{number}]: {problem}')


def _is_panoptic(path: Path) -> bool:
    """Whether a file is in COCO's other format, whose reader has looked through it."""
    try:
        content = read_json(path, _CONTENT)
    except UserError:
        return False
    listed = content.get('annotations') if isinstance(content, dict) else None
    return isinstance(listed, list) and any('segments_info' in entry for entry in listed[:1])


def _annotation_files(part: Any, root: str = '') -> Iterator[Path]:
    """Files of all ``ann_file`` settings, however deep, below the ``data_root`` beside them."""
    if isinstance(part, Mapping) or hasattr(part, 'items'):
        own = part.get('data_root')
        root = own if isinstance(own, str) else root
        named = part.get('ann_file')
        if isinstance(named, str) and named.endswith('.json'):
            yield Path(os.path.join(root, named))
        part = list(part.values())
    if isinstance(part, (list, tuple)):
        for inner in part:
            yield from _annotation_files(inner, root)


def _entry_problem(entry: Any, table: str) -> str | None:
    if not isinstance(entry, dict):
        return f'{entry!r:.40} is no object'
    if not _is_whole(entry.get('id')):
        return f"'id' is {entry.get('id')!r:.40}; a whole number is wanted"
    name = 'file_name' if table == 'images' else 'name'
    if not isinstance(entry.get(name), str):
        return f"'{name}' is {entry.get(name)!r:.40}; text is wanted"
    for side in ('height', 'width') if table == 'images' else ():
        if not _is_whole(entry.get(side)) or entry[side] < 1:
            return f"'{side}' is {entry.get(side)!r:.40}; a number of pixels is wanted"
    return None


def _annotation_problem(entry: Any, known: Mapping[str, set[Any]]) -> str | None:
    if not isinstance(entry, dict):
        return f'{entry!r:.40} is no object'
    for key, table in (('image_id', 'images'), ('category_id', 'categories')):
        if not _is_whole(entry.get(key)) or entry[key] not in known[table]:
            return f"'{key}' is {entry.get(key)!r:.40}, which {table} do not have"
    if not _is_whole(entry.get('id')):
        return f"'id' is {entry.get('id')!r:.40}; a whole number is wanted"
    if not _are_numbers(entry.get('bbox'), 4):
        return "'bbox' is no list of four numbers: x, y, width, height"
    if not _are_numbers([entry.get('area', 0)], 1):
        return f"'area' is {entry['area']!r:.40}; a number is wanted"
    shape = entry.get('segmentation', [])
    if isinstance(shape, list):
        good = all(_are_numbers(polygon) and len(polygon) % 2 == 0 for polygon in shape)
        return None if good else "'segmentation' has a polygon that is no list of x, y, x, y, ..."
    if not isinstance(shape, dict) or not _are_numbers(shape.get('size'), 2):
        return "'segmentation' is neither polygons nor run lengths with 'size' and 'counts'"
    counts = shape.get('counts')
    return None if isinstance(counts, str) or _are_numbers(counts) else "its 'counts' are none"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(value: Any, count: int | None = None) -> bool:
    return (
        isinstance(value, list)
        and (count is None or len(value) == count)
        and all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)
            for one in value
        )
    )
