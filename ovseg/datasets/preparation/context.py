"""Make the labels of Pascal Context with 59 classes and background from trainval_merged.json.

DATA_ROOT is the folder VOC2010 of the devkit, with JPEGImages and trainval_merged.json (of the
"PASCAL in Detail" release). Written are SegmentationClassContext/*.png and
ImageSets/SegmentationContext/SPLIT.txt, which Context-59 and Context-60 share. Without the JSON
file, labels that another converter made in that layout are checked.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import read_names, require_folder
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.input_files import read_json

IMAGES = {'val': 5104, 'train': 4996}
ANNOTATIONS = 'trainval_merged.json'


@cache
def labels_of_categories() -> Mapping[int, int]:
    """Label by category: its id is the place of its name, from 1, among the 459 of the data set."""
    from ovseg.datasets import Context60Dataset, Context459Dataset

    return {
        Context459Dataset.METAINFO['classes'].index(name) + 1: label
        for label, name in enumerate(Context60Dataset.METAINFO['classes'])
        if label > 0
    }


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """Labels 0 to 59 (H, W): masks are painted in the file's order, later ones over earlier."""
    from pycocotools import mask as run_lengths

    numbers = labels_of_categories()
    height, width, masks = item.source
    labels = np.zeros((height, width), np.uint8)
    for category, segmentation in masks:
        if category not in numbers:
            raise UserError(f'{ANNOTATIONS} has the category {category}, not one of the 59')
        if isinstance(segmentation['counts'], list):
            segmentation = run_lengths.frPyObjects(segmentation, height, width)
        labels[run_lengths.decode(segmentation).astype(bool)] = numbers[category]
    return labels


def read_annotations(path: Path, splits: Sequence[str]) -> dict[str, list[tuple[str, Any]]]:
    """For each split its (image name, (height, width, [(category, mask)])), sorted by name.

    Raises:
        UserError: not the JSON file that it should be.
    """
    print(f'reading {path} ...')
    content = read_json(path, 'annotation file')
    try:
        masks = defaultdict(list)
        for annotation in content['annos_segmentation']:
            masks[annotation['image_id']].append(
                (annotation['category_id'], annotation['segmentation'])
            )
        images: dict[str, list[tuple[str, Any]]] = {split: [] for split in splits}
        for image in content['images']:
            if image['phase'] in images:
                source = (image['height'], image['width'], masks[image['image_id']])
                images[image['phase']].append((Path(image['file_name']).stem, source))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f'{path} is not the annotation file of PASCAL in Detail ({error!r}), download it again'
        ) from error
    return {split: sorted(found, key=lambda named: named[0]) for split, found in images.items()}


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import Context60Dataset

    images = require_folder(root / 'JPEGImages', 'the images of VOC 2010')
    labels = root / 'SegmentationClassContext'
    lists = root / 'ImageSets' / 'SegmentationContext'
    annotations = root / ANNOTATIONS
    from_json = os.path.isfile(annotations)
    if not from_json and not os.path.isdir(labels):
        raise FileNotFoundError(
            f'no file {annotations} and no folder {labels}: download the annotations of Pascal '
            'Context (docs/data.md)'
        )
    sources = read_annotations(annotations, splits) if from_json else {}
    for split in splits:
        if from_json:
            found = sources[split]
            with written_whole(lists / f'{split}.txt') as temporary:
                temporary.write_text(''.join(f'{name}\n' for name, _ in found), encoding='utf-8')
        else:
            names = read_names(lists / f'{split}.txt', f'the list of {split} images')
            found = [(name, None) for name in names]
        items = [Item(images / f'{n}.jpg', labels / f'{n}.png', source) for n, source in found]
        recipe = Recipe(
            f'Pascal Context {split}',
            Context60Dataset,
            IMAGES[split],
            convert if from_json else None,
        )
        yield recipe, items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder VOC2010, e.g. data/VOCdevkit/VOC2010',
    datasets=('context59', 'context60'),
    splits=tuple(IMAGES),
    recipes=recipes,
)
