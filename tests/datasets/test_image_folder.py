from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from ovseg.datasets import ImageFolderDataset
from ovseg.errors import UserError

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


@pytest.fixture
def folder(tmp_path):
    for index, name in enumerate(['b.JPG', 'a.png', 'sub/c.webp', 'sub/deep/d.tif', '.hidden.png']):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 9, 3), 40 * index, np.uint8)).save(path)
    (tmp_path / '.cache').mkdir()
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save(tmp_path / '.cache' / 'e.png')
    (tmp_path / 'notes.txt').write_text('no image')
    return tmp_path


def names(dataset):
    root = dataset.data_root.rstrip('/') + '/'
    return [dataset.get_data_info(i)['img_path'].removeprefix(root) for i in range(len(dataset))]


def test_all_images_below_the_folder_are_found_in_the_order_of_their_paths(folder):
    dataset = ImageFolderDataset(str(folder))
    assert names(dataset) == ['a.png', 'b.JPG', 'sub/c.webp', 'sub/deep/d.tif']
    assert 'seg_map_path' not in dataset.get_data_info(0)


def test_every_kind_of_file_goes_through_mmsegs_pipeline(folder):
    with DefaultScope.overwrite_default_scope('ovseg'):
        resize = dict(scale=(72, 48), keep_ratio=True)
        dataset = ImageFolderDataset(str(folder), pipeline=PIPELINE, resize=resize)
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 48, 72)
        assert 'gt_sem_seg' not in sample['data_samples']
        assert sample['data_samples'].ori_shape == (6, 9)


def test_a_prefix_names_a_folder_below(folder):
    dataset = ImageFolderDataset(str(folder), data_prefix=dict(img_path='sub'))
    assert names(dataset) == ['sub/c.webp', 'sub/deep/d.tif']


@pytest.mark.parametrize('as_file', [False, True])
def test_images_are_chosen_by_position(folder, as_file):
    chosen = [3, 0, 2]
    if as_file:
        path = folder / 'chosen.txt'
        path.write_text('3\n0\n\n2\n')
        chosen = str(path)
    dataset = ImageFolderDataset(str(folder), indices=chosen, num_images=2)
    assert names(dataset) == ['sub/deep/d.tif', 'a.png']


@pytest.mark.parametrize(
    'settings, kind, message',
    [
        (dict(data_root='gone'), FileNotFoundError, 'there is no folder'),
        (dict(suffixes=['.gif']), FileNotFoundError, r'has no images in it \(looked for .gif\)'),
        (dict(indices=[0, 4]), UserError, 'indices names image 4, but the 4 images'),
        (dict(indices=[]), UserError, 'indices is empty'),
        (
            dict(indices='gone.txt'),
            FileNotFoundError,
            r'no file gone.txt of image numbers',
        ),
        (dict(num_images=5), UserError, 'num_images must be 1 to 4'),
        (dict(num_images=0), UserError, 'num_images must be 1 to 4'),
    ],
)
def test_bad_settings_are_one_sentence(folder, settings, kind, message):
    with pytest.raises(kind, match=message):
        ImageFolderDataset(**{'data_root': str(folder), **settings})


def test_a_file_of_positions_names_its_bad_line(folder):
    (folder / 'chosen.txt').write_text('1\ntwo\n')
    with pytest.raises(UserError, match="chosen.txt, line 2: 'two' is no whole number"):
        ImageFolderDataset(str(folder), indices=str(folder / 'chosen.txt'))
