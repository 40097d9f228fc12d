from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from ovseg.datasets import LabelledFolderDataset
from ovseg.errors import UserError

PIPELINE = [dict(type=kind) for kind in ('LoadImageFromFile', 'LoadSegLabels', 'PackSegInputs')]
PREFIX = dict(img_path='images', seg_map_path='labels')
LABELS = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ('b.jpg', 'street/a.png', 'street/.hidden.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 3, 3), 90, np.uint8)).save(path)
        path = (tmp_path / 'labels' / name).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(LABELS).save(path)
    return tmp_path


def build(folder, classes=('road', 'house', 'tree'), **settings):
    with DefaultScope.overwrite_default_scope('ovseg'):
        return LabelledFolderDataset(
            str(folder), PREFIX, metainfo=dict(classes=classes), pipeline=PIPELINE, **settings
        )


def test_each_image_comes_with_the_label_map_at_its_place(folder):
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(folder / 'labels' / 'street' / 'a.png')
    dataset = build(folder)
    assert dataset.metainfo['classes'] == ('road', 'house', 'tree')
    maps = [sample['data_samples'].gt_sem_seg.data[0].numpy() for sample in dataset]
    assert [labels.tolist() for labels in maps] == [LABELS.tolist(), [[0] * 3] * 2]


def test_zero_may_mean_no_class(folder):
    labels = build(folder, ('house', 'tree'), reduce_zero_label=True)[0]['data_samples'].gt_sem_seg
    assert labels.data[0].tolist() == [[255, 0, 1], [1, 0, 255]]


def test_images_are_resized_and_labels_are_not(folder):
    sample = build(folder, resize=dict(scale=(60, 40), keep_ratio=True), test_mode=True)[0]
    assert sample['inputs'].shape == (3, 40, 60)
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 2, 3)


def test_a_missing_label_map_is_named(folder):
    (folder / 'labels' / 'street' / 'a.png').unlink()
    wanted = r'1 of 2 images have no label map; .*street/a.png, which needs .*labels/street/a.png'
    with pytest.raises(FileNotFoundError, match=wanted):
        build(folder)


def test_a_number_without_a_name_is_an_error(folder):
    with pytest.raises(UserError, match=r'b.png holds the label 2, this data set has 0 to 1'):
        build(folder, ('road', 'house'))[0]


@pytest.mark.parametrize(
    ('classes', 'prefix', 'message'),
    [
        ((), PREFIX, 'has no class names'),
        ([str(number) for number in range(256)], PREFIX, 'at most 255 classes, got 256'),
        (('road',), dict(img_path='images'), 'set data_prefix.seg_map_path'),
    ],
)
def test_settings_that_cannot_be_meant(folder, classes, prefix, message):
    with pytest.raises(UserError, match=message):
        LabelledFolderDataset(str(folder), prefix, metainfo=dict(classes=classes))
