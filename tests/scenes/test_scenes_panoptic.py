"""Scenes whose things are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from miniatures import ROOT
from mmengine import Config
from mmengine.registry import DefaultScope

from ovseg.registry import DATASETS
from ovseg.scenes.datasets import CLASSES
from ovseg.scenes.instances import SMALLEST
from ovseg.scenes.world import MATERIALS, OBJECTS

CONFIG = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'scenes_panoptic.py')


def build(**changes):
    with DefaultScope.overwrite_default_scope('ovseg'):
        return DATASETS.build({**CONFIG.test_dataloader.dataset, 'num_scenes': 12, **changes})


@pytest.fixture(scope='module')
def truths():
    return [sample['data_samples'].panoptic_truth for sample in build()]


def test_two_things_of_one_class_are_two_segments(truths):
    pairs = 0
    for truth in truths:
        labels = [segment.label for segment in truth.segments]
        things = [label for label in labels if CLASSES[label] in OBJECTS]
        stuffs = [label for label in labels if CLASSES[label] in MATERIALS]
        assert len(set(stuffs)) == len(stuffs)
        pairs += len(things) - len(set(things))
    assert pairs > 3


def test_segments_are_the_pixels_that_the_label_map_gives_their_class(truths):
    with DefaultScope.overwrite_default_scope('ovseg'):
        plain = DATASETS.build(dict(type='ScenesDataset', num_scenes=12, size=(192, 192)))
    for truth, sample in zip(truths, plain, strict=True):
        labels = sample['data_samples'].gt_sem_seg.data[0].numpy()
        for segment in truth.segments:
            mask = truth.ids == segment.id
            assert mask.sum() == segment.area
            assert set(labels[mask].tolist()) == {segment.label}
        # Only slivers of things are nobody's.
        assert (truth.ids == 0).sum() <= SMALLEST * 3


def test_a_part_of_the_classes_is_asked_for():
    dataset = build(metainfo=dict(classes=['star', 'sky'], palette=[[0, 0, 0], [1, 1, 1]]))
    kept = [sample['data_samples'] for sample in dataset]
    assert all(sample.stuff_labels == (1,) for sample in kept)
    labels = [segment.label for sample in kept for segment in sample.panoptic_truth.segments]
    whole = [
        segment.label
        for sample in build()
        for segment in sample['data_samples'].panoptic_truth.segments
    ]
    assert labels.count(0) == whole.count(CLASSES.index('star')) > 0
    assert labels.count(1) == whole.count(CLASSES.index('sky')) > 0
    for sample in kept:
        truth = sample.panoptic_truth
        assert set(np.unique(truth.ids)) - {0} == {segment.id for segment in truth.segments}
