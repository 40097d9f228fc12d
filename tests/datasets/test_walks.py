"""Data sets and their preparation find files by the one rule of ovseg.folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ovseg.datasets import ImageFolderDataset
from ovseg.datasets.base import LabelMapDataset
from ovseg.datasets.preparation.sources import find_images


class TwoClasses(LabelMapDataset):
    METAINFO = {'classes': ('a', 'b'), 'palette': [[0, 0, 0], [1, 1, 1]], 'ignore_index': 255}


@pytest.fixture
def root(tmp_path):
    """Images and labels in sub-folders, one of them linked, with links to parents and a pipe."""
    for kind, mode, suffix in (('images', 'RGB', 'jpg'), ('labels', 'L', 'png')):
        for place in (f'{kind}/1', f'{kind}/x/2', f'elsewhere/{kind}/3'):
            path = tmp_path / f'{place}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (4, 3)).save(path)
        (tmp_path / kind / 'linked').symlink_to(tmp_path / 'elsewhere' / kind)
        for name in ('up', 'up_too'):
            (tmp_path / kind / 'x' / name).symlink_to(tmp_path / kind)
    os.mkfifo(tmp_path / 'images' / 'pipe.jpg')
    return tmp_path


IMAGES = ['1.jpg', 'linked/3.jpg', 'x/2.jpg']


def names(paths, folder):
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_label_map_data_sets(root):
    prefix = {'img_path': 'images', 'seg_map_path': 'labels'}
    dataset = TwoClasses(data_root=str(root), data_prefix=prefix)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert names([info['img_path'] for info in infos], root / 'images') == IMAGES
    wanted = [name.replace('jpg', 'png') for name in IMAGES]
    assert names([info['seg_map_path'] for info in infos], root / 'labels') == wanted
    assert {'label_map', 'reduce_zero_label', 'seg_fields'} <= infos[0].keys()


def test_lists_that_name_a_pipe(root):
    (root / 'list.txt').write_text('1\npipe\n')
    Image.new('L', (4, 3)).save(root / 'labels' / 'pipe.png')
    prefix = {'img_path': 'images', 'seg_map_path': 'labels'}
    with pytest.raises(FileNotFoundError, match=r'1 of 2 images have no image, .*pipe.jpg'):
        TwoClasses(data_root=str(root), data_prefix=prefix, ann_file='list.txt')


def test_folders_of_images(root):
    dataset = ImageFolderDataset(str(root / 'images'))
    paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    assert names(paths, root / 'images') == IMAGES


def test_preparation(root):
    assert names(find_images(root / 'images', '.jpg', 'images'), root / 'images') == IMAGES
