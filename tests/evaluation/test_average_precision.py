from __future__ import annotations

import pytest

from ovseg.evaluation import AveragePrecisionReport

METRICS = {
    'coco/bbox_mAP': 0.378,
    'coco/bbox_mAP_50': 0.6,
    'coco/bbox_mAP_s': -1.0,
    'coco/segm_mAP': 0.345,
    'coco/AR@100': 0.5,
}


def test_fractions_become_percent_and_sizes_without_objects_have_none():
    report = AveragePrecisionReport.from_metrics(METRICS)
    expected = {'box AP': 37.8, 'box AP_50': 60.0, 'box AP_s': None, 'mask AP': 34.5}
    assert report.scores == expected
    assert report.text() == 'box AP 37.8  box AP_50 60.0  box AP_s -  mask AP 34.5'
    assert report.to_dict() == {'metrics': expected, 'headline': 'mask AP'}


def test_boxes_come_first_where_no_mask_was_compared():
    assert AveragePrecisionReport.from_metrics({'bbox_mAP': 0.1}).headline == 'box AP'
    assert AveragePrecisionReport.from_metrics({'bbox_mAP_50': 0.1}).headline == 'box AP_50'


@pytest.mark.parametrize('metrics', [{}, {'mIoU': 50.0}])
def test_other_metrics_make_no_report(metrics):
    assert AveragePrecisionReport.from_metrics(metrics) is None


def test_no_detection_at_all_is_an_ap_of_zero():
    report = AveragePrecisionReport.from_metrics({}, ['bbox', 'segm', 'proposal'])
    assert report.scores == {'box AP': 0.0, 'mask AP': 0.0}
