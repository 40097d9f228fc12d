"""Make the 16-bit labels of Pascal Context with all 459 classes from its MATLAB files.

DATA_ROOT is the folder VOC2010 of the devkit, with JPEGImages, trainval/*.mat (and labels.txt) of
the Pascal Context release, and a list of the images: pascalcontext_val.txt, or
ImageSets/SegmentationContext/val.txt as preparing 'context' makes it, which is then copied.
Written are annotations_detectron2/pc459_val/*.tif with label - 1, and 65535 for no label.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import read_names, require_file, require_folder
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.line_lists import read_lines
from ovseg.vocabulary.protocols import METAINFO, protocol_words

IMAGES = {'val': 5104}
CLASSES = protocol_words('context459', METAINFO)[0]


def convert(item: Item) -> npt.NDArray[np.uint16]:
    """Labels 0 to 458 (H, W); what is not 1 to 459 in the MATLAB file is not labelled."""
    from scipy.io import loadmat

    from ovseg.datasets import Context459Dataset

    content = loadmat(require_file(item.source, 'a label map of Pascal Context'))
    if 'LabelMap' not in content:
        raise UserError(f'{item.source} has no LabelMap, it is not of the Pascal Context release')
    raw = content['LabelMap'].astype(np.int64)
    labelled = (raw >= 1) & (raw <= len(CLASSES))
    return np.where(labelled, raw - 1, Context459Dataset.METAINFO['ignore_index']).astype(np.uint16)


def check_names(path: Path) -> None:
    """Compare the release's list of names, if it is there, with the order used here.

    Raises:
        UserError: another name at some place, so the labels would mean other classes.
    """
    if not os.path.isfile(path):
        return
    for _, line in read_lines(path, 'classes'):
        number, colon, name = line.partition(':')
        index = int(number) - 1 if colon and number.strip().isdigit() else -1
        if 0 <= index < len(CLASSES) and name.strip() != CLASSES[index]:
            raise UserError(
                f'{path} calls class {index + 1} {name.strip()!r}, here it is {CLASSES[index]!r}: '
                'another release?'
            )


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import Context459Dataset

    images = require_folder(root / 'JPEGImages', 'the images of VOC 2010')
    matlab = require_folder(root / 'trainval', 'the *.mat files of Pascal Context')
    check_names(root / 'labels.txt')
    listed = root / 'pascalcontext_val.txt'
    if not os.path.isfile(listed):
        other = root / 'ImageSets' / 'SegmentationContext' / 'val.txt'
        content = f'the validation images (or give {listed.name})'
        names = read_names(other, content)
        with written_whole(listed) as temporary:
            temporary.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')
    labels = root / 'annotations_detectron2' / 'pc459_val'
    for split in splits:
        names = read_names(listed, 'the list of validation images')
        items = [
            Item(images / f'{name}.jpg', labels / f'{name}.tif', matlab / f'{name}.mat')
            for name in names
        ]
        title = f'Pascal Context-459 {split}'
        yield Recipe(title, Context459Dataset, IMAGES[split], convert), items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder VOC2010, e.g. data/VOCdevkit/VOC2010',
    datasets=('context459',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
