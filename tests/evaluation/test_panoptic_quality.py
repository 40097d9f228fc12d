"""Panoptic quality: the numbers of panopticapi on the same files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from segment_files import OFFICIAL, facts, samples

from ovseg.datasets.panoptic_files import read_panoptic_file
from ovseg.datasets.panoptic_loading import read_id_map
from ovseg.datasets.panoptic_truth import PanopticTruth, TrueSegment
from ovseg.errors import UserError
from ovseg.evaluation import PanopticQualityMetric
from ovseg.evaluation.panoptic_quality import count_segments

UNSEEN = ['cat', 'sky', 'rug']


def evaluated(chosen=None, **settings):
    metric = PanopticQualityMetric(**settings)
    metric.dataset_meta = facts()
    chosen = samples() if chosen is None else chosen
    for sample in chosen:
        metric.process(None, [sample])
    return metric, metric.evaluate(len(chosen))


def test_scores_are_those_of_panopticapi():
    metric, scores = evaluated(groups={'unseen': UNSEEN})
    parts = {'All': '', 'Things': '_things', 'Stuff': '_stuff', 'unseen': '_unseen'}
    for part, ending in parts.items():
        for key, value in OFFICIAL['panopticapi'][part].items():
            name = key.upper() + ending
            assert metric.report.scores[name] == pytest.approx(value, rel=1e-12)
            assert scores[name] == round(value, 2)


def test_each_class_has_its_counts_and_those_that_do_not_occur_have_no_quality():
    report = evaluated()[0].report
    ids = facts()['category_ids']
    rows = dict(zip(map(str, ids), report.rows(), strict=True))
    for number, wanted in OFFICIAL['panopticapi']['counts'].items():
        assert [rows[number][key] for key in ('TP', 'FP', 'FN')] == wanted
        quality = OFFICIAL['panopticapi']['per_class'][number]
        for key in ('pq', 'sq', 'rq'):
            found = rows[number][key.upper()]
            assert found == (pytest.approx(quality[key], rel=1e-12) if sum(wanted) else None)
    assert sum(map(sum, OFFICIAL['panopticapi']['counts'].values())) > 60
    json.dumps(report.to_dict(), allow_nan=False)


def test_saved_files_are_what_panopticapi_reads(tmp_path):
    evaluated(output_dir=str(tmp_path))
    content = read_panoptic_file(tmp_path / 'panoptic.json')
    assert tuple(category.id for category in content.categories) == facts()['category_ids']
    for image, sample in zip(content.images, samples(), strict=True):
        ids = read_id_map(str(tmp_path / image.map_name))
        assert image.id == sample['img_id']
        assert np.array_equal(ids, sample['pred_segments'].ids.numpy())
        assert [segment[0] for segment in image.segments] == list(np.unique(ids[ids > 0]))


TRUE = np.array([[1, 1, 1, 2, 2, 0, 0, 3, 3, 3]])
SEGMENTS = (TrueSegment(1, 0, 3), TrueSegment(2, 1, 2), TrueSegment(3, 0, 3, is_crowd=True))


@pytest.mark.parametrize(
    ('found', 'labels', 'wanted'),
    [
        # The pixels on no annotation are in no union: IoU 2 / 3, and not 2 / 5.
        ([0, 1, 1, 0, 0, 1, 1, 0, 0, 0], {1: 0}, {0: (2 / 3, 1, 0, 0), 1: (0, 0, 0, 1)}),
        # On nothing, and on a group of its class: forgiven; of another class: not.
        ([0, 0, 0, 0, 0, 1, 1, 2, 2, 2], {1: 1, 2: 0}, {0: (0, 0, 0, 1), 1: (0, 0, 0, 1)}),
        ([0, 0, 0, 0, 0, 0, 0, 2, 2, 2], {2: 1}, {0: (0, 0, 0, 1), 1: (0, 0, 1, 1)}),
        # An IoU of just one half is no match.
        ([1, 1, 1, 2, 0, 0, 0, 0, 0, 0], {1: 0, 2: 1}, {0: (1, 1, 0, 0), 1: (0, 0, 1, 1)}),
    ],
)
def test_a_segment_is_matched_missed_or_forgiven(found, labels, wanted):
    counts = count_segments(np.array([found]), labels, PanopticTruth(TRUE, SEGMENTS))
    rows = zip(counts.iou, counts.matched, counts.invented, counts.missed, strict=True)
    assert dict(zip(counts.labels.tolist(), map(tuple, rows), strict=True)) == wanted


def test_what_cannot_be_compared_is_named():
    sample = {**samples()[0], 'img_path': 'a.jpg'}
    small = torch.zeros(3, 4, dtype=torch.int32)
    with pytest.raises(UserError, match=r'a\.jpg: the segments have 3 x 4 pixels'):
        evaluated([{**sample, 'pred_segments': type(sample['pred_segments'])(small, ())}])
    with pytest.raises(UserError, match=r'a\.jpg has no panoptic annotation'):
        evaluated([{**sample, 'panoptic_truth': None}])
    with pytest.raises(UserError, match="Did you mean 'cat'"):
        evaluated(groups={'seen': ['cta']})
