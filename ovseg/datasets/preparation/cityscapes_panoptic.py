"""Make panoptic maps of Cityscapes from its *_gtFine_instanceIds.png.

DATA_ROOT is the folder with leftImg8bit and gtFine. Written are, below gtFine,
cityscapes_panoptic_val/*.png and cityscapes_panoptic_val.json, with the ids of the authors' script
(createPanopticImgs). What that script has made is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg.coco_masks import colors_of_ids
from ovseg.datasets.preparation.cityscapes import EVALUATED, IMAGES
from ovseg.datasets.preparation.panoptic import (
    SINGLE,
    PanopticSource,
    check_id_map,
    with_annotations,
    write_annotations,
)
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import find_images, require_file, require_folder

_NAME = 'cityscapes'
_IMAGE_END = '_leftImg8bit.png'


def convert(item: Item) -> npt.NDArray[np.uint8]:
    """The id map of an image as colours (H, W, 3): the instance ids of the evaluated classes.

    Args:
        item: with its instance map as source.

    Raises:
        FileNotFoundError: there is no instance map.
    """
    from ovseg.datasets.loading import read_labels

    ids = read_labels(require_file(item.source.files[0], 'an instance map of gtFine'))
    classes = np.where(ids < SINGLE, ids, ids // SINGLE)
    return colors_of_ids(np.where(np.isin(classes, EVALUATED), ids, 0))


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import CityscapesPanopticDataset

    for split in splits:
        title = f'Cityscapes panoptic {split}'
        images = find_images(root / 'leftImg8bit' / split, _IMAGE_END, f'the images of {title}')
        sources = require_folder(root / 'gtFine' / split, f'the instance maps of {title}')
        maps = root / 'gtFine' / f'cityscapes_panoptic_{split}'
        file = root / 'gtFine' / f'cityscapes_panoptic_{split}.json'
        items = []
        for image in images:
            start = image.name.removesuffix(_IMAGE_END)
            source = sources / image.parent.name / f'{start}_gtFine_instanceIds.png'
            items.append(
                Item(
                    image,
                    maps / f'{start}_gtFine_panoptic.png',
                    PanopticSource(_NAME, start, (source,)),
                )
            )
        recipe = Recipe(
            title,
            CityscapesPanopticDataset,
            IMAGES[split],
            convert,
            check=check_id_map,
            finish=partial(write_annotations, path=file, dataset=_NAME),
        )
        yield recipe, with_annotations(items, file)


PREPARATION = Preparation(
    about=__doc__,
    root='the folder of Cityscapes, e.g. data/cityscapes',
    datasets=('cityscapes_panoptic',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
