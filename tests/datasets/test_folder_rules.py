"""Which files of a folder are images, whoever asks."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from ovseg.datasets import ADE20K150Dataset, ImageFolderDataset, LabelledFolderDataset, VOC21Dataset
from ovseg.datasets.image_files import left_out
from ovseg.datasets.preparation import find_images, read_names
from ovseg.errors import UserError
from ovseg.folders import walk_files

CLASSES = dict(classes=['a', 'b'])


def save(path, value=0, labels=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (4, 6) if labels else (4, 6, 3)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def names(dataset, key='img_path'):
    return [os.path.basename(dataset.get_data_info(i)[key]) for i in range(len(dataset))]


@contextmanager
def warned(caplog):
    logger = MMLogger.get_current_instance()
    with caplog.at_level(logging.WARNING):
        logger.addHandler(caplog.handler)
        yield
        logger.removeHandler(caplog.handler)


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    save(tmp_path / 'data' / 'a.jpg')
    save(tmp_path / 'other' / 'b.jpg')
    save(tmp_path / 'data' / '.hidden' / 'c.jpg')
    for link, place in (('link', '../other'), ('again', '../other'), ('up', '..'), ('self', '.')):
        (tmp_path / 'data' / link).symlink_to(place)
    found = sorted(os.path.basename(path) for path in walk_files(tmp_path / 'data'))
    assert found == ['a.jpg', 'b.jpg']
    assert [path.name for path in find_images(tmp_path / 'data', '.jpg', 'images')] == found
    assert names(ImageFolderDataset(str(tmp_path / 'data'))) == found
    data = ADE20K150Dataset(data_root=str(tmp_path), data_prefix=dict(img_path='data'))
    assert names(data) == found


def test_all_kinds_that_are_read_are_found_and_others_are_said(tmp_path, caplog):
    for name in ('a.gif', 'b.TGA', 'c.jp2', 'd.webp', 'e.pgm'):
        save(tmp_path / name.lower())
    (tmp_path / 'f.heic').write_bytes(b'x')
    (tmp_path / 'notes.txt').write_text('x')
    with warned(caplog):
        data = ImageFolderDataset(str(tmp_path), pipeline=[dict(type='LoadImageFromFile')])
    assert len(data) == 5 and all(data[i]['img'].shape == (4, 6, 3) for i in range(5))
    assert 'left out (1 .heic), such as ' in caplog.text
    assert left_out(['a.txt', 'b.jpg'], ['.jpg']) is None


@pytest.mark.parametrize('places', [('.', '.'), ('.', 'labels'), ('images', 'labels')])
def test_label_maps_beside_or_below_the_images_are_no_images(tmp_path, places):
    images, labels = places
    for name in ('x', 'sub/y'):
        save(tmp_path / images / f'{name}.jpg')
        save(tmp_path / labels / f'{name}.png', labels=True)
    prefix = dict(img_path=images, seg_map_path=labels)
    data = LabelledFolderDataset(str(tmp_path), prefix, metainfo=CLASSES)
    assert sorted(names(data)) == ['x.jpg', 'y.jpg']


def test_images_that_share_a_label_map_are_refused_unless_one_is_chosen(tmp_path):
    for name in ('x.jpg', 'x.webp', 'y.jpg'):
        save(tmp_path / 'images' / name)
    for name in ('x.png', 'y.png'):
        save(tmp_path / 'labels' / name, labels=True)
    (tmp_path / 'list.txt').write_text('x.webp\ny.jpg\nx.webp\n')
    prefix = dict(img_path='images', seg_map_path='labels')
    with pytest.raises(UserError, match=r'x\.jpg and .*x\.webp both take .*x\.png \(1 such'):
        LabelledFolderDataset(str(tmp_path), prefix, metainfo=CLASSES)
    for chosen, found in (
        (dict(suffixes=['.jpg']), ['x.jpg', 'y.jpg']),
        (dict(ann_file='list.txt'), ['x.webp', 'y.jpg', 'x.webp']),
    ):
        data = LabelledFolderDataset(str(tmp_path), prefix, metainfo=CLASSES, **chosen)
        assert names(data) == found


def test_preparation_and_data_set_read_one_list_alike(tmp_path):
    for name in ('with blank', 'plain'):
        save(tmp_path / 'images' / f'{name}.jpg')
        save(tmp_path / 'labels' / f'{name}.png', labels=True)
    listed = tmp_path / 'list.txt'
    listed.write_bytes(b'\xef\xbb\xbfwith blank \r\nplain.jpg\r\n\r\n')
    prefix = dict(img_path='images', seg_map_path='labels')
    data = VOC21Dataset(data_root=str(tmp_path), ann_file='list.txt', data_prefix=prefix)
    assert read_names(listed, 'the list') == ['with blank', 'plain']
    assert names(data, 'seg_map_path') == ['with blank.png', 'plain.png']
