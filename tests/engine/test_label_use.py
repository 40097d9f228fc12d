from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from miniatures import make_miniature
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scripts import ROOT

from ovseg.datasets import LabelledFolderDataset
from ovseg.engine.guarded_samples import check_files, guard_samples
from ovseg.engine.label_use import LabelUse, look_at_labels
from ovseg.errors import UserError
from ovseg.registry import DATASETS


def write(root, maps):
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    for index, labels in enumerate(maps):
        labels = np.array([labels], np.uint8)
        cv2.imwrite(str(root / 'images' / f'{index}.png'), np.zeros((*labels.shape, 3), np.uint8))
        cv2.imwrite(str(root / 'labels' / f'{index}.png'), labels)


def folder(root, classes=('background', 'object'), **settings):
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'LoadSegLabels'}]
    prefix = {'img_path': 'images', 'seg_map_path': 'labels'}
    with DefaultScope.overwrite_default_scope('ovseg'):
        return LabelledFolderDataset(
            str(root), prefix, metainfo={'classes': list(classes)}, pipeline=pipeline, **settings
        )


def test_masks_in_black_and_white_are_said(tmp_path):
    write(tmp_path, [[0, 255], [255, 255]])
    use = look_at_labels(folder(tmp_path), 100)
    sentence = use.sentence('train_dataloader')
    assert sentence.startswith(
        "class 'object' has no pixel in the 2 label maps of train_dataloader: they hold the "
        'values 0, 255,'
    )
    assert 'label_values=[0, 255]' in sentence
    read = look_at_labels(folder(tmp_path, label_values=[0, 255]), 100)
    assert read.sentence('train_dataloader') is None and read.counts.tolist() == [1, 3]


def test_a_rare_class_is_no_matter_where_only_some_maps_are_read(tmp_path):
    write(tmp_path, [[0, 1], [2, 255], [0, 0], [1, 0], [0, 1]])
    data = folder(tmp_path, ('a', 'b', 'c'))
    assert look_at_labels(data, 100).sentence('x') is None
    some = look_at_labels(data, 3)
    assert (some.maps, some.counts.tolist()) == (3, [4, 2, 0])
    assert some.sentence('x') is None


def test_maps_are_read_until_there_is_a_label(tmp_path):
    write(tmp_path, [[255], [255], [255], [1], [255], [255]])
    use = look_at_labels(folder(tmp_path), 2)
    assert use.maps == 5 and use.counts.tolist() == [0, 1]


def test_classes_without_a_segment_are_named(tmp_path):
    make_miniature('coco_panoptic', tmp_path)
    settings = Config.fromfile(ROOT / 'configs/_base_/datasets/coco_panoptic.py')
    data = settings.test_dataloader.dataset
    data.data_root = str(tmp_path)
    with DefaultScope.overwrite_default_scope('ovseg'):
        dataset = DATASETS.build(data)
    use = look_at_labels(dataset, 100)
    drawn = [dataset[number]['data_samples'].panoptic_truth for number in range(len(dataset))]
    areas = np.zeros(len(use.classes), np.int64)
    for segment in (each for truth in drawn for each in truth.segments):
        areas[segment.label] += segment.area
    assert use.counts.tolist() == areas.tolist() and use.counts.any()
    assert f"the {len(use.unused)} classes '{use.unused[0]}'" in use.sentence(
        'train_dataloader'
    ) and 'have no segment in the annotations of the 3 images' in use.sentence('train_dataloader')
    data.metainfo = {'classes': [use.unused[0]]}
    with DefaultScope.overwrite_default_scope('ovseg'):
        nothing = look_at_labels(DATASETS.build(data), 100)
    assert nothing.sentence('x').startswith('none of the classes has a segment')


@pytest.mark.parametrize(
    'values, message',
    [([0], 'one number for each'), ([0, 0], 'all different'), ([7, 8], 'which is not in')],
)
def test_values_that_do_not_fit(tmp_path, values, message):
    write(tmp_path, [[0, 255]])
    with pytest.raises(UserError, match=message):
        folder(tmp_path, label_values=values)[0]


def test_pipes_and_empty_files_are_told_at_once(tmp_path):
    write(tmp_path, [[0, 1]])
    data = folder(tmp_path)
    guard_samples(data, 0)
    label = tmp_path / 'labels' / '0.png'
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(UserError, match='is no regular file'):
        data[0]
    with pytest.raises(UserError, match='no regular file'):
        look_at_labels(data, 10)
    check_files({'img_path': None, 'seg_map_path': str(tmp_path / 'gone.png')})


@pytest.mark.parametrize(
    'labels, classes, advice',
    [
        ([1, 2, 3, 255], 3, 'if 1 is the first class, set x.dataset.reduce_zero_label=True'),
        ([0, 128, 255], 3, r'label_values=\[0, 128, 255\]'),
        ([255], 2, r'x\.dataset\.label_values of LabelledFolderDataset'),
    ],
)
def test_the_setting_that_reads_the_values_is_named(labels, classes, advice):
    use = LabelUse([str(i) for i in range(classes)], np.zeros(classes, np.int64), set(labels), 1, 1)
    with pytest.raises(UserError, match=advice):
        raise UserError(use.sentence('x'))
