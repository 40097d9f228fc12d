"""Annotation files in COCO's panoptic format, read and looked through."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import read_json

_TABLES = ('images', 'annotations', 'categories')


@dataclass(frozen=True)
class Category:
    """A class of a file.

    Attributes:
        id: as the segments name it.
        name: of the class.
        is_thing: whether its things are told apart.
    """

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of a file and its segments.

    Attributes:
        id: a number or a text.
        file_name: of the image.
        map_name: of the PNG file with the ids.
        segments: ``id``, ``category_id``, ``area`` and ``iscrowd`` of each, as whole numbers.
    """

    id: int | str
    file_name: str
    map_name: str
    segments: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class PanopticFile:
    """What an annotation file holds.

    Attributes:
        images: in the order of the annotations.
        categories: in the order of the file.
    """

    images: tuple[AnnotatedImage, ...]
    categories: tuple[Category, ...]


def read_panoptic_file(path: str | os.PathLike[str]) -> PanopticFile:
    """The images, segments and classes of a file.

    Args:
        path: JSON with ``images``, ``annotations`` (one an image, with ``segments_info``) and
            ``categories`` (with ``isthing``).

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no JSON, or names the first entry that is not as the format has it, or the first
            id or class name that stands twice.

    Source: COCO panoptic segmentation, data format.
    """
    content = read_json(path, 'panoptic annotation file')
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's panoptic format: it holds no object with images")
    for table in _TABLES:
        if not isinstance(content.get(table), list):
            raise UserError(f"{path} is not in COCO's panoptic format: it has no list '{table}'")
    categories = tuple(
        _category(entry, f'{path}, categories[{number}]')
        for number, entry in enumerate(content['categories'])
    )
    for key in ('id', 'name'):
        _refuse_twice([getattr(each, key) for each in categories], f"{path}, categories: '{key}'")
    known = {category.id for category in categories}
    names: dict[Any, str] = {}
    for number, entry in enumerate(content['images']):
        where = f'{path}, images[{number}]'
        names[_image_id(entry, 'id', where)] = _text(entry, 'file_name', where)
    images = tuple(
        _annotated(entry, names, known, f'{path}, annotations[{number}]')
        for number, entry in enumerate(content['annotations'])
    )
    if not images:
        raise UserError(f'{path} has no annotation, so there is no image to look at')
    _refuse_twice([image.id for image in images], f"{path}, annotations: 'image_id'")
    return PanopticFile(images, categories)


def _category(entry: Any, where: str) -> Category:
    is_thing = _whole(entry, 'isthing', where)
    return Category(_whole(entry, 'id', where), _text(entry, 'name', where), is_thing == 1)


def _annotated(
    entry: Any, names: Mapping[Any, str], categories: set[int], where: str
) -> AnnotatedImage:
    image_id = _image_id(entry, 'image_id', where)
    if image_id not in names:
        raise UserError(f"{where}: 'image_id' is {image_id!r:.40}, which images do not have")
    listed = entry.get('segments_info')
    if not isinstance(listed, list):
        raise UserError(f"{where} has no list 'segments_info'; is it an instance annotation?")
    segments = []
    for number, segment in enumerate(listed):
        place = f'{where}.segments_info[{number}]'
        category = _whole(segment, 'category_id', place)
        if category not in categories:
            raise UserError(f"{place}: 'category_id' is {category}, which categories do not have")
        crowd = _whole({'iscrowd': 0, **segment}, 'iscrowd', place)
        own_id, area = (_whole(segment, key, place) for key in ('id', 'area'))
        if own_id < 1:
            raise UserError(f"{place}: 'id' is {own_id}; 0 means no segment, so ids begin at 1")
        segments.append((own_id, category, area, crowd))
    _refuse_twice([segment[0] for segment in segments], f"{where}.segments_info: 'id'")
    return AnnotatedImage(
        image_id, names[image_id], _text(entry, 'file_name', where), tuple(segments)
    )


def _refuse_twice(values: Sequence[int | str], where: str) -> None:
    """Stops where one name stands for two things, of which only the last would count."""
    if len(set(values)) == len(values):
        return
    twice = next(value for value in values if values.count(value) > 1)
    raise UserError(f'{where} is {twice!r:.40} in two entries; each needs its own')


def _image_id(entry: Any, key: str, where: str) -> int | str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UserError(f"{where}: '{key}' is {value!r:.40}; a whole number or a text is wanted")
    return value


def _whole(entry: Any, key: str, where: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) and key in ('isthing', 'iscrowd'):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where}: '{key}' is {value!r:.40}; a whole number is wanted")
    return value


def _text(entry: Any, key: str, where: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not Path(value).name:
        raise UserError(f"{where}: '{key}' is {value!r:.40}; the name of a file or class is wanted")
    return value
