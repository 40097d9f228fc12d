"""Miniatures of the real data sets: the folder layout as downloaded, with three small images.

``make_miniature(name, root)`` writes what a user would have unpacked; ``prepared_miniature(name,
root)`` also runs tools/prepare_data.py, so that the data set's config works with
``data_root=root``. Names are those of configs/_base_/datasets. Everything is seeded.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
from scipy.io import savemat
from scripts import ROOT, load_script

COUNT = 3
SIZE = (48, 64)

CONTEXT_IDS = (2, 23, 458)  # aeroplane, bicycle, wood
ADE_OBJECT_IDS = (2978, 312, 3148)  # wall (label 0), building (1), adding machine (846)


def blocks(values, size=SIZE) -> np.ndarray:
    """Labels (H, W) with the values as vertical stripes of about equal width."""
    height, width = size
    stripe = np.arange(width) * len(values) // width
    return np.tile(np.asarray(values)[stripe], (height, 1))


def make_miniature(name: str, root: Path, large: bool = True) -> None:
    """Write the layout of a data set as it is downloaded.

    Args:
        name: of the data set.
        root: its folder.
        large: whether preparation finds a picture to shrink where it shrinks any (ADE20K-847);
            a model with 847 classes takes seconds for it.
    """
    if name == 'ade847':
        _ade_full(Path(root), large)
    else:
        {**_MAKERS, **_PANOPTIC_MAKERS}[name](Path(root))


def prepared_miniature(name: str, root: Path, large: bool = True) -> None:
    """Write the layout and run `tools/prepare_data.py` on it."""
    make_miniature(name, root, large)
    assert prepare(name, root) == 0


def prepare(name: str, root: Path, *options: str) -> int:
    """Run ``tools/prepare_data.py`` on a few images, and return its exit code."""
    words = [name, str(root), '--allow-partial', '--workers', '1', *options]
    return load_script('prepare_data').main(words)


def dataset_config(name: str, root: Path) -> dict:
    """The ``test_dataloader.dataset`` part of a data set's config, for data under ``root``."""
    from mmengine import Config

    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py')
    dataset = config.test_dataloader.dataset.to_dict()
    dataset['data_root'] = str(root)
    return dataset


def build_dataset(name: str, root: Path, **changes):
    """The data set of a config as tools/test.py builds it."""
    from mmengine.registry import DefaultScope

    from ovseg.registry import DATASETS

    with DefaultScope.overwrite_default_scope('ovseg'):
        return DATASETS.build({**dataset_config(name, root), **changes})


def _photo(path: Path, seed: int, size=SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR).save(path)


def _labels(path: Path, labels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if palette:
        image.putpalette([(37 * i) % 256 for i in range(768)])
    image.save(path)


def _voc(root: Path) -> None:
    names = [f'2007_00003{i}' for i in range(COUNT)]
    for i, name in enumerate(names):
        _photo(root / 'JPEGImages' / f'{name}.jpg', i)
        _labels(
            root / 'SegmentationClass' / f'{name}.png', blocks([0, 255, i + 1, 20]), palette=True
        )
    _photo(root / 'JPEGImages' / '2012_000001.jpg', 9)  # VOC has many images without labels
    _list(root / 'ImageSets' / 'Segmentation' / 'val.txt', names)


def _list(path: Path, names) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{name}\n' for name in names))


def _context_names() -> list[str]:
    return [f'2008_00000{i + 2}' for i in range(COUNT)]


def _context(root: Path) -> None:
    images, annotations = [], []
    for i, name in enumerate(_context_names()):
        _photo(root / 'JPEGImages' / f'{name}.jpg', i)
        number = int(name.replace('_', ''))
        images.append(
            {
                'file_name': f'{name}.jpg',
                'image_id': number,
                'height': SIZE[0],
                'width': SIZE[1],
                'phase': 'val',
            }
        )
        stripes = blocks([0, *CONTEXT_IDS])
        for category in CONTEXT_IDS[: i + 1]:
            encoded = run_lengths.encode(np.asfortranarray((stripes == category).astype(np.uint8)))
            encoded['counts'] = encoded['counts'].decode()
            annotations.append(
                {'image_id': number, 'category_id': category, 'segmentation': encoded}
            )
    images.append({**images[0], 'file_name': '2008_009999.jpg', 'image_id': 1, 'phase': 'train'})
    content = {'images': images, 'annos_segmentation': annotations, 'categories': []}
    (root / 'trainval_merged.json').write_text(json.dumps(content))


def _context459(root: Path) -> None:
    for i, name in enumerate(_context_names()):
        _photo(root / 'JPEGImages' / f'{name}.jpg', i)
        path = root / 'trainval' / f'{name}.mat'
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {'LabelMap': blocks([0, 1 + i, 301, 459]).astype(np.uint16)})
    _list(root / 'pascalcontext_val.txt', _context_names())
    (root / 'labels.txt').write_text('1: accordion\n2: aeroplane\n459: wool\n')


def _coco(root: Path) -> None:
    for i, name in enumerate(['000000000139', '000000000285', '000000000632'][:COUNT]):
        _photo(root / 'images' / 'val2017' / f'{name}.jpg', i)
        _labels(root / 'annotations' / 'val2017' / f'{name}.png', blocks([0, 89, 91 + i, 181, 255]))


def _cityscapes(root: Path) -> None:
    for i in range(COUNT):
        city = ['frankfurt', 'lindau', 'munster'][i]
        start = f'{city}_000000_00000{i}'
        _photo(root / 'leftImg8bit' / 'val' / city / f'{start}_leftImg8bit.png', i)
        folder = root / 'gtFine' / 'val' / city
        _labels(folder / f'{start}_gtFine_labelIds.png', blocks([0, 7, 24 + i, 33]))
        _labels(folder / f'{start}_gtFine_instanceIds.png', blocks([0, 7, 24 + i, 33]))
        (folder / f'{start}_gtFine_polygons.json').write_text('{}')


def _ade(root: Path) -> None:
    for i in range(COUNT):
        name = f'ADE_val_0000000{i + 1}'
        _photo(root / 'images' / 'validation' / f'{name}.jpg', i)
        _labels(root / 'annotations' / 'validation' / f'{name}.png', blocks([0, 1 + i, 150]))


def _id_map(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = [ids // 256**power % 256 for power in range(3)]
    Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(path)


def _ade_panoptic(root: Path) -> None:
    """Stripes: nobody, stuff, two things side by side, a thing over stuff, and a label alone."""
    for i in range(COUNT):
        name = f'ADE_val_0000000{i + 1}'
        _photo(root / 'images' / 'validation' / f'{name}.jpg', i)
        labels = blocks([0, 1, 8, 8, 2, 13])
        _labels(root / 'annotations' / 'validation' / f'{name}.png', labels)
        kinds, numbers = blocks([0, 0, 1, 1, 100, 0]), blocks([0, 0, 1, 2, 3, 0])
        coded = np.stack([kinds, numbers, np.full_like(kinds, 9)], -1)
        path = root / 'annotations_instance' / 'validation' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coded.astype(np.uint8)).save(path)


def _cityscapes_panoptic(root: Path) -> None:
    _cityscapes(root)
    for path in root.glob('gtFine/val/*/*_instanceIds.png'):
        ids = blocks([4, 7, 24000, 24001, 25, 33012]).astype(np.uint16)
        Image.fromarray(ids).save(path)


def _listed_panoptic(
    images: Path, maps: Path, file: Path, categories: dict[int, tuple[str, int]]
) -> None:
    """Maps and an annotation file as they are downloaded: two things, a group and a stuff."""
    things = [number for number, (_, isthing) in categories.items() if isthing]
    stuffs = [number for number, (_, isthing) in categories.items() if not isthing]
    content = {'images': [], 'annotations': [], 'categories': []}
    for i in range(COUNT):
        name = f'00000000{i + 1}'
        _photo(images / f'{name}.jpg', i)
        ids = blocks([0, 70001, 70002, 513, 9])
        _id_map(maps / f'{name}.png', ids)
        kinds = {70001: things[0], 70002: things[0], 513: things[-1], 9: stuffs[i]}
        segments = [
            {
                'id': number,
                'category_id': category,
                'area': int((ids == number).sum()),
                'bbox': [0, 0, 1, 1],
                'iscrowd': int(number == 513),
            }
            for number, category in kinds.items()
        ]
        size = {'height': SIZE[0], 'width': SIZE[1]}
        content['images'].append({'id': i, 'file_name': f'{name}.jpg', **size})
        content['annotations'].append(
            {'image_id': i, 'file_name': f'{name}.png', 'segments_info': segments}
        )
    content['categories'] = [
        {'id': number, 'name': word, 'isthing': isthing}
        for number, (word, isthing) in categories.items()
    ]
    file.write_text(json.dumps(content))


def _categories(name: str) -> dict[int, tuple[str, int]]:
    from ovseg.vocabulary.thing_sets import panoptic_facts

    facts = panoptic_facts(name)
    return {
        number: (word, int(word in facts['thing_classes']))
        for number, word in zip(facts['category_ids'], facts['classes'], strict=True)
    }


def _coco_panoptic(root: Path) -> None:
    folder = root / 'annotations'
    maps, file = folder / 'panoptic_val2017', folder / 'panoptic_val2017.json'
    _listed_panoptic(root / 'val2017', maps, file, _categories('coco_panoptic'))


def _mapillary_panoptic(root: Path) -> None:
    folder = root / 'validation'
    maps = folder / 'panoptic'
    categories = _categories('mapillary_panoptic')
    _listed_panoptic(folder / 'images', maps, maps / 'panoptic_2018.json', categories)


def _ade_full(root: Path, large: bool) -> None:
    (root / 'images' / 'ADE' / 'training' / 'urban' / 'street').mkdir(parents=True)
    (root / 'objects.txt').write_text('')
    for i in range(COUNT):
        folder = root / 'images' / 'ADE' / 'validation' / ['urban', 'home_or_hotel'][i % 2] / 'room'
        name = f'ADE_val_0000000{i + 1}'
        # The last one is larger than 512 and gets shrunk.
        size = (520, 600) if large and i == 2 else SIZE
        _photo(folder / f'{name}.jpg', i, size)
        ids = blocks([0, *ADE_OBJECT_IDS, 1], size)  # 1 is an object outside the 847
        coded = np.stack([ids // 256 * 10, ids % 256, np.full_like(ids, 7)], -1)
        Image.fromarray(coded.astype(np.uint8)).save(folder / f'{name}_seg.png')
        _labels(folder / f'{name}_parts_1.png', blocks([0], size))
        _labels(folder / name / 'instance_000.png', blocks([255], size))
        (folder / f'{name}.json').write_text('{}')


_MAKERS = {
    'voc20': _voc,
    'voc21': _voc,
    'context59': _context,
    'context60': _context,
    'context459': _context459,
    'coco_object': _coco,
    'coco_stuff164k': _coco,
    'cityscapes': _cityscapes,
    'ade20k': _ade,
    'ade847': _ade_full,
}
NAMES = tuple(_MAKERS)
_PANOPTIC_MAKERS = {
    'ade20k_panoptic': _ade_panoptic,
    'cityscapes_panoptic': _cityscapes_panoptic,
    'coco_panoptic': _coco_panoptic,
    'mapillary_panoptic': _mapillary_panoptic,
}
PANOPTIC_NAMES = tuple(_PANOPTIC_MAKERS)
