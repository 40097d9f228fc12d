"""Every way by which images, label maps, texts and annotations come in, with every broken file."""

from __future__ import annotations

import json
import signal
import zlib

import broken_files
import numpy as np
import pytest
from broken_files import ANY, COCO, COCOS, IMAGES, JSONS, LABELS, TEXTS
from PIL import Image

from ovseg.datasets import ADE20K150Dataset, ImageFolderDataset, MaskCaptionPairs
from ovseg.datasets.caption_files import read_captions
from ovseg.datasets.coco_files import annotations_explained, check_coco
from ovseg.datasets.loading import LoadSegLabels
from ovseg.datasets.pair_files import Pair, read_pairs, write_pairs
from ovseg.datasets.preparation.context import read_annotations
from ovseg.datasets.preparation.recipe import Item, Recipe, _check
from ovseg.datasets.preparation.sources import read_names
from ovseg.engine.file_check import check_image
from ovseg.errors import UserError
from ovseg.images.loader import ImageLoader
from ovseg.images.reading import load_rgb
from ovseg.images.video import Video
from ovseg.input_files import read_json, read_text
from ovseg.regions import RegionFolder
from ovseg.saved_config import read_saved_config

SECONDS = 20
SIZE = (6, 8)


def good(folder, name='good.png'):
    folder = folder if folder.is_dir() else folder.parent
    Image.fromarray(broken_files.noise(*SIZE) % 3).save(folder / name)
    return folder / name


def pair(column):
    def call(path):
        folder = good(path.parent).parent
        row = {'filepath': 'good.png', 'title': 'cat', 'mask': 'good.png', column: str(path)}
        if not str(path).isprintable():
            raise UserError('no table holds such a name')
        write_pairs(folder / 'pairs.csv', [Pair(**row)])
        MaskCaptionPairs(folder / 'pairs.csv', size=8)[0]

    return call


def load_labels(path):
    sample = {'seg_map_path': str(path), 'seg_fields': [], 'ori_shape': SIZE}
    LoadSegLabels()({**sample, 'label_map': None, 'reduce_zero_label': False})


def prepared(key):
    """What tools/prepare_data.py looks at, and counts where it cannot be read."""
    recipe = Recipe('x', ADE20K150Dataset, 1, makes_images=True)

    def call(path):
        files = {'image': good(path.parent), 'labels': good(path.parent), key: path}
        _check(Item(**files), recipe)

    return call


def region_map(path):
    place = path.parent / 'image.png'
    place.symlink_to(path)
    RegionFolder(path.parent).regions(np.zeros((*SIZE, 3), np.uint8), 'image.jpg')


def numbers(path):
    good(path.parent)
    folder = path.parent if path.parent.is_dir() else path.parent.parent
    ImageFolderDataset(str(folder), indices=str(path))


IMAGE_DOORS = {
    'python': load_rgb,
    'data sets': lambda path: ImageLoader()({'img_path': str(path)}),
    'data sets, grey': lambda path: ImageLoader(color_type='grayscale')({'img_path': str(path)}),
    'pairs': pair('filepath'),
    'masks of pairs': pair('mask'),
    'prepare_data': prepared('image'),
}
VIDEO_DOORS = {'videos': lambda path: list(Video.find(path).frames())}
LABEL_DOORS = {
    'label maps': load_labels,
    'label maps of prepare_data': prepared('labels'),
    'region maps': region_map,
}
TEXT_DOORS = {
    'text': read_text,
    'table of pairs': read_pairs,
    'list of images': lambda path: read_names(path, 'a list'),
    'numbers of images': numbers,
}
JSON_DOORS = {
    'json': read_json,
    'saved model': read_saved_config,
    'captions': read_captions,
    'annotations of context': lambda path: read_annotations(path, ['train']),
    'annotations of COCO': check_coco,
}
# What a door has nothing to do with, or takes for good.
SENSELESS = {
    *(('region maps', kind) for kind in ('name_too_long', 'name_with_a_zero_byte')),
    *(('region maps', kind) for kind in ('inexact', 'link_to_itself', 'file_as_a_folder')),
    ('data sets, grey', 'program_that_draws'),
    ('json', 'json_of_another_form'),
    ('json', 'json_of_null'),
    ('list of images', 'utf_16'),
}
CASES = [
    (door, kind)
    for doors, tables in (
        (IMAGE_DOORS, (ANY, IMAGES)),
        (VIDEO_DOORS, (ANY,)),
        (LABEL_DOORS, (ANY, IMAGES, LABELS)),
        (TEXT_DOORS, (ANY, TEXTS)),
        (JSON_DOORS, (ANY, TEXTS, JSONS)),
    )
    for door in doors
    for table in tables
    for kind in table
    if (door, kind) not in SENSELESS
]
DOORS = {**IMAGE_DOORS, **VIDEO_DOORS, **LABEL_DOORS, **TEXT_DOORS, **JSON_DOORS}
KINDS = {**ANY, **IMAGES, **LABELS, **TEXTS, **JSONS}


class Late(BaseException):
    """No error that a reader could turn into a sentence."""


@pytest.fixture(autouse=True)
def _bounded():
    def late(*_):
        raise Late(f'took over {SECONDS} seconds')

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(('door', 'kind'), CASES)
def test_a_broken_file_is_one_sentence(door, kind, tmp_path):
    path = KINDS[kind](tmp_path)
    with pytest.raises((UserError, FileNotFoundError)) as raised:
        DOORS[door](path)
    sentence = str(raised.value)
    assert '\n' not in sentence and len(sentence) < 900
    assert sentence.strip() and 'Traceback' not in sentence


@pytest.mark.parametrize('kind', COCOS)
def test_annotations_of_other_types_are_named(kind, tmp_path):
    path = COCOS[kind](tmp_path)
    with pytest.raises(UserError, match=r'changed\.json, \w+\[0\]: '):
        check_coco(path)
    config = {'test_dataloader': {'dataset': {'data_root': str(tmp_path), 'ann_file': path.name}}}
    with pytest.raises(UserError, match=r'changed\.json'), annotations_explained(config):
        raise KeyError('whatever a loader says')


def test_good_annotations_leave_an_error_alone(tmp_path):
    path = broken_files.written(tmp_path / 'good.json', json.dumps(COCO).encode())
    check_coco(path)
    with pytest.raises(KeyError), annotations_explained({'ann_file': str(path)}):
        raise KeyError('a fault of the program')


@pytest.mark.parametrize('door', ['python', 'data sets', 'prepare_data'])
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'tif', 'bmp', 'gif', 'avif', 'ppm'])
def test_the_doors_take_good_pictures(door, suffix, tmp_path):
    path = tmp_path / f'good.{suffix}'
    picture = Image.fromarray(broken_files.noise(*SIZE, 3))
    picture.save(path)
    DOORS[door](path)


def test_the_label_doors_take_good_maps(tmp_path):
    path = good(tmp_path)
    load_labels(path)
    region_map(path)


def test_a_jpeg_without_its_last_mark_is_read(tmp_path):
    path = tmp_path / 'camera.jpg'
    Image.fromarray(broken_files.noise(*SIZE, 3)).save(path)
    whole = ImageLoader()({'img_path': str(path)})['img']
    path.write_bytes(path.read_bytes() + bytes(10_000))  # a camera's own data behind it
    assert (ImageLoader()({'img_path': str(path)})['img'] == whole).all()
    check_image(str(path))


def test_metadata_that_cannot_be_read_do_not_matter(tmp_path):
    path = tmp_path / 'metadata.png'
    header = np.array([SIZE[1], SIZE[0]], '>u4').tobytes() + bytes([8, 0, 0, 0, 0])
    rows = b''.join(b'\0' + bytes(SIZE[1]) for _ in range(SIZE[0]))
    path.write_bytes(
        broken_files.png(
            (b'IHDR', header),
            (b'eXIf', b'II*\0\xff\xff\xff\xff'),
            (b'IDAT', zlib.compress(rows)),
            (b'IEND', b''),
        )
    )
    assert load_rgb(path).shape == (*SIZE, 3)
