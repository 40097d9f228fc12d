"""Make panoptic maps of ADE20K-150 from its label maps and its instance maps.

DATA_ROOT is the folder ADEChallengeData2016 with images, annotations and, unpacked from
annotations_instance.tar of the same site, annotations_instance. Written are
ade20k_panoptic_val/*.png and ade20k_panoptic_val.json, whose segments are those of MaskFormer's
converter. Its own files are kept if both are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg.coco_masks import colors_of_ids
from ovseg.datasets.preparation.ade20k import FOLDERS, IMAGES
from ovseg.datasets.preparation.panoptic import (
    SINGLE,
    PanopticSource,
    check_id_map,
    numbers_of,
    with_annotations,
    write_annotations,
)
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import find_images, require_file, require_folder
from ovseg.errors import UserError
from ovseg.images.opening import opened
from ovseg.vocabulary.thing_sets import panoptic_facts

_NAME = 'ade20k'


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """The id map of an image as colours (H, W, 3): stuff, and over it each thing.

    Pixels of a thing's class in the label map that no instance takes belong to nobody.

    Args:
        item: with its label map and its instance map as source.

    Raises:
        FileNotFoundError: a map that is not there.
        UserError: a map that cannot be read, or with values that are no class.
    """
    labels, instances = _read(item)
    things = _thing_labels()
    ids = np.zeros(labels.shape, np.int32)
    is_stuff = (labels >= 0) & ~np.isin(labels, things)
    number_of = {label: number for number, label in numbers_of(_NAME).items()}
    for label in np.unique(labels[is_stuff]).tolist():
        ids[labels == label] = number_of[label]
    for number in np.unique(instances[..., 1]).tolist():
        if number == 0:
            continue
        mask = instances[..., 1] == number
        kinds = np.unique(instances[..., 0][mask]).tolist()
        if len(kinds) != 1 or not 1 <= kinds[0] <= len(things):
            raise UserError(
                f'{item.source.files[1]}: instance {number} has the classes {kinds}; one of 1 to '
                f'{len(things)} is wanted'
            )
        # The i-th class of the instance maps is the i-th thing of the 150.
        ids[mask] = number_of[things[kinds[0] - 1]] * SINGLE + number
    return colors_of_ids(ids)


def check(item: Item) -> tuple[frozenset[int], dict[str, Any] | None]:
    """See :func:`check_id_map`; areas of stuff are those under the things, too.

    Published numbers were made with these areas: MaskFormer's converter measures stuff before it
    lays things over it, and lists what they hide wholly.

    Args:
        item: see :func:`convert`.
    """
    values, record = check_id_map(item)
    if record is None:
        return values, record
    labels, _ = _read(item)
    segments = {entry['id']: entry for entry in record['annotation']['segments_info']}
    things = _thing_labels()
    for number, label in numbers_of(_NAME).items():
        area = 0 if label in things else int((labels == label).sum())
        if area:
            hidden = {'id': number, 'category_id': label, 'bbox': [0, 0, 0, 0], 'iscrowd': 0}
            segments[number] = {**segments.get(number, hidden), 'area': area}
    record['annotation']['segments_info'] = [segments[number] for number in sorted(segments)]
    return values, record


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import ADE20KPanopticDataset

    for split in splits:
        title, folder = f'ADE20K panoptic {split}', FOLDERS[split]
        images = find_images(root / 'images' / folder, '.jpg', f'the images of {title}')
        sources = [
            require_folder(root / name / folder, content)
            for name, content in (
                ('annotations', 'the label maps of ADE20K'),
                ('annotations_instance', 'the instance maps of annotations_instance.tar'),
            )
        ]
        maps, file = root / f'ade20k_panoptic_{split}', root / f'ade20k_panoptic_{split}.json'
        items = [
            Item(
                image,
                maps / f'{image.stem}.png',
                PanopticSource(
                    _NAME, image.stem, tuple(source / f'{image.stem}.png' for source in sources)
                ),
            )
            for image in images
        ]
        finish = partial(write_annotations, path=file, dataset=_NAME)
        recipe = Recipe(
            title, ADE20KPanopticDataset, IMAGES[split], convert, check=check, finish=finish
        )
        yield recipe, with_annotations(items, file)


def _thing_labels() -> list[int]:
    facts = panoptic_facts(_NAME)
    return [facts['classes'].index(name) for name in facts['thing_classes']]


def _read(item: Item) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Labels (H, W), -1 for other, and the instance map (H, W, 3): class and number."""
    from ovseg.datasets.loading import read_labels

    semantic, instance = (
        require_file(path, 'a map of ADE20K, instance maps being a download of their own')
        for path in item.source.files
    )
    labels = read_labels(semantic).astype(np.int64) - 1
    with opened(instance, 'instance map') as image:
        if image.mode != 'RGB':
            raise UserError(f'{instance} is an image of mode {image.mode}; RGB is wanted')
        instances = np.asarray(image)
    if instances.shape[:2] != labels.shape:
        raise UserError(f'{instance} and {semantic} differ in size')
    return labels, instances


PREPARATION = Preparation(
    about=__doc__,
    root='ADEChallengeData2016, e.g. data/ade/ADEChallengeData2016',
    datasets=('ade20k_panoptic',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
