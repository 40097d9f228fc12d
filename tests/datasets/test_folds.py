"""The folds of the few-shot protocols, against lists written out by hand."""

from __future__ import annotations

import pytest

from ovseg.datasets import COCOObjectDataset, VOC20Dataset, VOC21Dataset
from ovseg.datasets.folds import fold_groups, fold_labels
from ovseg.errors import UserError

NOVEL = {
    ('pascal-5i', 0): 'aeroplane bicycle bird boat bottle',
    ('pascal-5i', 1): 'bus car cat chair cow',
    ('pascal-5i', 3): 'pottedplant sheep sofa train tvmonitor',
}


@pytest.mark.parametrize('dataset', [VOC20Dataset, VOC21Dataset])
def test_pascal_folds_are_neighbours(dataset):
    classes = dataset.METAINFO['classes']
    for (protocol, fold), names in NOVEL.items():
        groups = fold_groups(protocol, fold, classes)
        assert groups['novel'] == names.split() and len(groups['base']) == 15
        assert 'background' not in groups['base']
    assert 'diningtable' in fold_groups('pascal-5i', 2, classes)['novel']


def test_coco_folds_are_every_fourth_category():
    classes = COCOObjectDataset.METAINFO['classes']
    groups = fold_groups('coco-20i', 0, classes)
    assert groups['novel'][:4] == ['person', 'airplane', 'boat', 'parking meter']
    assert fold_groups('coco-20i', 3, classes)['novel'][-1] == 'toothbrush'


@pytest.mark.parametrize(('protocol', 'count'), [('pascal-5i', 20), ('coco-20i', 80)])
def test_folds_divide_the_classes(protocol, count):
    labels = [label for fold in range(4) for label in fold_labels(protocol, fold)]
    assert sorted(labels) == list(range(1, count + 1))


def test_what_is_no_fold_is_a_sentence():
    with pytest.raises(UserError, match="not of 'pascal-5'. Did you mean 'pascal-5i'"):
        fold_labels('pascal-5', 0)
    with pytest.raises(UserError, match='has folds 0 to 3, not 4'):
        fold_labels('coco-20i', 4)
    with pytest.raises(UserError, match='divides 20 classes, the data set has 3'):
        fold_groups('pascal-5i', 0, ['a', 'b', 'c'])
