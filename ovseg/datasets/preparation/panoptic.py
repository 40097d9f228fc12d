"""What panoptic sets share: id maps that are checked against their annotation file, or make one.

An annotation file that is there is kept and the maps are compared with it. Where there is none, ids
say what a segment is, in the way of Cityscapes: a class's number (its category id, or where these
count from 0, one more) for all there is of it, and 1000 times that plus a number for a single
thing. A thing's class without such a number is a group that nobody told apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg.datasets.panoptic_files import AnnotatedImage, read_panoptic_file
from ovseg.datasets.preparation.recipe import Item, size_and_orientation
from ovseg.datasets.preparation.sources import require_file
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.vocabulary.thing_sets import panoptic_facts

SINGLE = 1000


@dataclass(frozen=True)
class PanopticSource:
    """What an id map is made from, and compared with.

    Attributes:
        dataset: a name of :func:`~ovseg.vocabulary.thing_sets.panoptic_facts`.
        image_id: of the image in the annotation file.
        files: label maps that the ids come from.
        listed: what the annotation file says of the image, where there is one.
    """

    dataset: str
    image_id: int | str
    files: tuple[Path, ...] = ()
    listed: AnnotatedImage | None = None


def numbers_of(dataset: str) -> dict[int, int]:
    """Label of each class by the number that ids begin with.

    Args:
        dataset: see :class:`PanopticSource`.
    """
    ids = panoptic_facts(dataset)['category_ids']
    shift = int(0 in ids)  # id 0 is nobody's
    return {number + shift: label for label, number in enumerate(ids)}


def check_id_map(item: Item) -> tuple[frozenset[int], dict[str, Any] | None]:
    """The classes in a finished id map, and its records for an annotation file that is to be made.

    Args:
        item: with a :class:`PanopticSource`.

    Raises:
        FileNotFoundError: no image or no map.
        UserError: unreadable, of another size than its image, or with ids that stand for nothing.
    """
    from ovseg.datasets.label_orientation import fit_to_upright
    from ovseg.datasets.panoptic_loading import read_id_map

    source: PanopticSource = item.source
    for path in (item.image, item.labels):
        require_file(path, 'a file of the data set')
    size, orientation = size_and_orientation(item.image, whole=False)
    ids = fit_to_upright(
        read_id_map(str(item.labels)), size, orientation, 'upright', item.labels
    ).astype(np.int32)
    facts = panoptic_facts(source.dataset)
    if source.listed is not None:
        label_of = {number: label for label, number in enumerate(facts['category_ids'])}
        categories = {segment[0]: segment[1] for segment in source.listed.segments}
        _check_known(ids, set(categories), item.labels, 'the annotation file')
        present = set(np.unique(ids).tolist()) & set(categories)
        return frozenset(label_of[categories[number]] for number in present), None
    numbers = numbers_of(source.dataset)
    _check_known(ids, _stood_for(ids, numbers), item.labels, 'the data set')
    things = set(facts['thing_classes'])
    segments = [
        _record(ids, number, numbers, facts, things) for number in np.unique(ids[ids > 0]).tolist()
    ]
    labels = frozenset(facts['category_ids'].index(each['category_id']) for each in segments)
    return labels, {
        'image': {
            'id': source.image_id,
            'file_name': item.image.name,
            'height': size[0],
            'width': size[1],
        },
        'annotation': {
            'image_id': source.image_id,
            'file_name': item.labels.name,
            'segments_info': segments,
        },
    }


def write_annotations(records: Sequence[Mapping[str, Any]], path: Path, dataset: str) -> None:
    """Write an annotation file, whole or not at all; nothing where one is there.

    Args:
        records: of :func:`check_id_map`, None for what a file lists already.
        path: of the file.
        dataset: see :class:`PanopticSource`.
    """
    if os.path.exists(path):
        return
    facts = panoptic_facts(dataset)
    things = set(facts['thing_classes'])
    content = {
        'images': [record['image'] for record in records],
        'annotations': [record['annotation'] for record in records],
        'categories': [
            {'id': number, 'name': name, 'isthing': int(name in things)}
            for number, name in zip(facts['category_ids'], facts['classes'], strict=True)
        ],
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')


def with_annotations(items: Sequence[Item], path: Path) -> list[Item]:
    """The items with what an annotation file says of them; unchanged where there is no file.

    Args:
        items: found by their images.
        path: of the file.

    Raises:
        UserError: the file is none, or lacks an image.
    """
    if not os.path.exists(path):
        return list(items)
    listed = {image.map_name: image for image in read_panoptic_file(path).images}
    missing = [item for item in items if item.labels.name not in listed]
    if missing:
        raise UserError(
            f'{path} says nothing of {missing[0].labels.name}; move it away to have it made anew'
        )
    return [
        replace(item, source=replace(item.source, listed=listed[item.labels.name]))
        for item in items
    ]


def listed_items(path: Path, images: Path, maps: Path, dataset: str) -> list[Item]:
    """One item for each image of an annotation file, whose maps come ready.

    Args:
        path: of the file.
        images: folder of the images.
        maps: folder of the id maps.
        dataset: see :class:`PanopticSource`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is none.
    """
    require_file(path, 'the annotations in the panoptic format of COCO')
    return [
        Item(
            images / image.file_name,
            maps / image.map_name,
            PanopticSource(dataset, image.id, listed=image),
        )
        for image in read_panoptic_file(path).images
    ]


def _stood_for(ids: npt.NDArray[np.int32], numbers: Mapping[int, int]) -> set[int]:
    found = np.unique(ids).tolist()
    return {number for number in found if _class_number(number) in numbers}


def _class_number(number: int) -> int:
    return number // SINGLE if number >= SINGLE else number


def _check_known(ids: npt.NDArray[np.int32], known: set[int], path: Path, where: str) -> None:
    unknown = set(np.unique(ids).tolist()) - known - {0}
    if unknown:
        raise UserError(f'{path} holds the id {min(unknown)}, which {where} does not have')


def _record(
    ids: npt.NDArray[np.int32],
    number: int,
    numbers: Mapping[int, int],
    facts: Mapping[str, Any],
    things: set[str],
) -> dict[str, Any]:
    mask = ids == number
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    label = numbers[_class_number(number)]
    return {
        'id': number,
        'category_id': facts['category_ids'][label],
        'area': int(mask.sum()),
        'bbox': [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        'iscrowd': int(number < SINGLE and facts['classes'][label] in things),
    }
