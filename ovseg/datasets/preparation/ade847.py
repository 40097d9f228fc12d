"""Make images and 16-bit labels of ADE20K-847 from the full release ADE20K_2021_17_01.

DATA_ROOT is the folder ADE20K_2021_17_01, with images/ADE/validation/**/*.jpg and, beside each
image, its *_seg.png. Written are images_detectron2/validation/*.jpg and
annotations_detectron2/validation/*.tif, both shrunk so that the shorter side is at most 512, as
in MaskFormer's converter; 65535 means no label. The folder is searched for images, so that the
release's index, a pickle that could run code, is not opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe
from ovseg.datasets.preparation.sources import find_images, require_file
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.images.opening import opened

IMAGES = {'val': 2000, 'train': 25574}
FOLDERS = {'val': 'validation', 'train': 'training'}
SHORTER_SIDE = 512
# Object ids of the release in label order; the names are those of ADE847Dataset.
OBJECT_IDS = json.loads(Path(__file__).with_name('ade847_object_ids.json').read_text('utf-8'))
# One more than the largest id that the red and green channels of *_seg.png can code.
_IDS = 26 * 256


@cache
def label_of_id() -> npt.NDArray[np.uint16]:
    """Label by object id."""
    from ovseg.datasets import ADE847Dataset

    labels = np.full(_IDS, ADE847Dataset.METAINFO['ignore_index'], np.uint16)
    labels[OBJECT_IDS] = np.arange(len(OBJECT_IDS))
    return labels


def object_ids(path: Path) -> npt.NDArray[np.int32]:
    """Object ids (H, W) of a *_seg.png: 256 for each ten of red, plus green; 0 is no object.

    Raises:
        UserError: not a colour image.
    """
    with opened(path) as image:
        if image.mode != 'RGB':
            raise UserError(f'{path} is not a colour image, the release codes objects in colours')
        red, green, _ = np.asarray(image).astype(np.int32).transpose(2, 0, 1)
    return red // 10 * 256 + green


def shrunken_size(height: int, width: int) -> tuple[int, int] | None:
    """(height, width) with the shorter side at ``SHORTER_SIDE``, None if it is not longer."""
    if min(height, width) <= SHORTER_SIDE:
        return None
    if width >= height:
        return SHORTER_SIDE, round(width / height * SHORTER_SIDE)
    return round(height / width * SHORTER_SIDE), SHORTER_SIDE


def convert(item: Item) -> npt.NDArray[np.uint16]:
    """Write the image and return its labels 0 to 846 (H, W), both shrunk alike.

    Raises:
        UserError: an image that is not in colour, or of another size than its labels.
    """
    import cv2

    source: Path = item.source
    ids = object_ids(
        require_file(source.with_name(f'{source.stem}_seg.png'), 'the objects of an image')
    )
    with opened(source) as picture:
        image = np.asarray(picture.convert('RGB'))
    if image.shape[:2] != ids.shape:
        raise UserError(f'{source} has the size {image.shape[:2]}, its objects have {ids.shape}')
    size = shrunken_size(*ids.shape)
    if size is not None:
        height, width = size
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        shrunk = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
        ids = shrunk.astype(np.int32, copy=False)
    with written_whole(item.image) as temporary:
        Image.fromarray(image).save(temporary)
    return label_of_id()[ids]


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import ADE847Dataset

    for split in splits:
        folder = FOLDERS[split]
        sources = find_images(
            root / 'images' / 'ADE' / folder, '.jpg', f'the {split} images of the full release'
        )
        items = [
            Item(
                root / 'images_detectron2' / folder / source.name,
                root / 'annotations_detectron2' / folder / f'{source.stem}.tif',
                source,
            )
            for source in sources
        ]
        recipe = Recipe(
            f'ADE20K-847 {split}', ADE847Dataset, IMAGES[split], convert, makes_images=True
        )
        yield recipe, items


PREPARATION = Preparation(
    about=__doc__,
    root='ADE20K_2021_17_01, e.g. data/ade/ADE20K_2021_17_01',
    datasets=('ade847',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
