"""Check the panoptic annotations of Mapillary Vistas 1.2; its files are used as they are.

DATA_ROOT is the folder with validation/images/*.jpg, validation/panoptic/*.png and
validation/panoptic/panoptic_2018.json (and the same below training).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ovseg.datasets.preparation.panoptic import check_id_map, listed_items
from ovseg.datasets.preparation.recipe import Item, Preparation, Recipe

IMAGES = {'val': 2000, 'train': 18000}
FOLDERS = {'val': 'validation', 'train': 'training'}


def recipes(root: Path, splits: Sequence[str]) -> Iterator[tuple[Recipe, list[Item]]]:
    """The recipe and the images of each split."""
    from ovseg.datasets import MapillaryPanopticDataset

    for split in splits:
        folder = root / FOLDERS[split]
        file = folder / 'panoptic' / 'panoptic_2018.json'
        items = listed_items(file, folder / 'images', folder / 'panoptic', 'mapillary_panoptic')
        title = f'Mapillary Vistas panoptic {split}'
        yield Recipe(title, MapillaryPanopticDataset, IMAGES[split], check=check_id_map), items


PREPARATION = Preparation(
    about=__doc__,
    root='the folder of Mapillary Vistas, e.g. data/mapillary_vistas',
    datasets=('mapillary_panoptic',),
    splits=tuple(IMAGES),
    recipes=recipes,
)
