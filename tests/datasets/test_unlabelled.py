from __future__ import annotations

import numpy as np
import pytest
import torch
from miniatures import build_dataset, prepared_miniature
from mmengine.registry import DefaultScope
from mmseg.models import SegDataPreProcessor

from ovseg.datasets import ImageFolderDataset, SuppressLabels
from ovseg.errors import UserError
from ovseg.registry import TRANSFORMS

LABELS = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)


def suppress(classes, labels=LABELS, **keys):
    results = {'gt_seg_map': labels, 'img': np.zeros((2, 3, 3), np.uint8), **keys}
    return SuppressLabels(classes)(results)['gt_seg_map']


def test_chosen_classes_become_unlabelled_and_ignored_pixels_stay_so():
    labels = suppress([1, 3])
    assert labels.dtype == np.int32
    assert labels.tolist() == [[0, -1, 2], [-1, 255, -1]]
    assert suppress('all').tolist() == [[-1, -1, -1], [-1, 255, -1]]
    assert LABELS[0, 1] == 1


def test_the_ignored_value_is_the_data_sets_own():
    wide = np.array([[0, 255, 65535]], np.int32)
    assert suppress('all', wide, ignore_index=65535).tolist() == [[-1, -1, 65535]]


def test_an_image_without_labels_is_unlabelled_all_over():
    results = SuppressLabels()({'img': np.zeros((4, 5, 3), np.uint8)})
    assert results['gt_seg_map'].shape == (4, 5) and (results['gt_seg_map'] == -1).all()
    assert results['seg_fields'] == ['gt_seg_map']


@pytest.mark.parametrize('classes', ['none', [], [-1]])
def test_bad_classes_are_one_sentence(classes):
    with pytest.raises(UserError, match="must be 'all' or a list of class numbers"):
        SuppressLabels(classes)


STEPS = [
    dict(type='RandomResize', scale=(96, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(40, 40), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


def pack(pipeline, seed, results):
    np.random.seed(seed)
    with DefaultScope.overwrite_default_scope('ovseg'):
        for step in pipeline:
            results = TRANSFORMS.build(step)(results)
    return results


@pytest.mark.parametrize('seed', range(5))
def test_signed_labels_survive_mmsegs_transforms_and_the_padding_is_ignored(seed):
    labels = np.full((48, 64), -1, np.int32)
    labels[:24], labels[:, :20] = 3, 255
    results = {'gt_seg_map': labels, 'seg_fields': ['gt_seg_map']}
    results['img'] = np.zeros((48, 64, 3), np.uint8)
    results['img_shape'] = results['ori_shape'] = (48, 64)
    sample = pack(STEPS, seed, results)
    data = {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
    done = SegDataPreProcessor(size=(44, 44), seg_pad_val=255)(data, True)
    packed = done['data_samples'][0].gt_sem_seg.data
    assert packed.dtype == torch.int64 and packed.shape[-2:] == (44, 44)
    assert set(packed.unique().tolist()) <= {-1, 3, 255}
    assert (packed[:, 40:] == 255).all() and (packed == -1).any()


def test_a_data_set_puts_the_step_after_its_labels(tmp_path):
    prepared_miniature('voc20', tmp_path)
    kept = build_dataset('voc20', tmp_path)[0]['data_samples'].gt_sem_seg.data
    dataset = build_dataset('voc20', tmp_path, suppress_labels=[19])
    labels = dataset[0]['data_samples'].gt_sem_seg.data
    # After reduce_zero_label: 20 in the file is class 19, the background 0 is ignored.
    assert torch.equal(labels == -1, kept == 19) and (kept == 19).any()
    assert torch.equal(labels == 255, kept == 255)


def test_a_folder_without_labels_says_unlabelled(tmp_path):
    prepared_miniature('voc20', tmp_path)
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadSegLabels'), STEPS[-1]]
    with DefaultScope.overwrite_default_scope('ovseg'):
        dataset = ImageFolderDataset(
            str(tmp_path / 'JPEGImages'), pipeline=steps, suppress_labels='all'
        )
    assert (dataset[0]['data_samples'].gt_sem_seg.data == -1).all()


def test_a_pipeline_without_labels_cannot_hold_them_back(tmp_path):
    prepared_miniature('voc20', tmp_path)
    with pytest.raises(ValueError, match='needs a pipeline with one of LoadSegLabels'):
        build_dataset(
            'voc20', tmp_path, suppress_labels='all', pipeline=[dict(type='PackSegInputs')]
        )
