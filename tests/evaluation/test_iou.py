from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image
from tiny_label_maps import naive_matrix, random_maps

import ovseg.evaluation.iou as iou_module
from ovseg.errors import UserError
from ovseg.evaluation import OVIoUMetric
from ovseg.registry import METRICS

NAMES = tuple(f'class {index}' for index in range(6))


def sample(prediction, label=None, name='a', **extra):
    result = {
        'pred_sem_seg': {'data': prediction[None]},
        'img_path': f'/data/{name}.jpg',
        **extra,
    }
    if label is not None:
        result['gt_sem_seg'] = {'data': label[None]}
    return result


def metric_of(classes=NAMES, meta=None, **settings):
    metric = OVIoUMetric(**settings)
    metric.dataset_meta = {'classes': classes, **(meta or {})}
    return metric


def images(count, **ranges):
    return [random_maps(seed, len(NAMES), 255, **ranges) for seed in range(count)]


def run(metric, maps):
    for index, (prediction, label) in enumerate(maps):
        metric.process({}, [sample(prediction, label, str(index))])
    return metric.evaluate(len(maps))


def test_same_numbers_as_mmseg():
    maps = images(3, low=0, beyond=0)
    theirs = IoUMetric()
    theirs.dataset_meta = {'classes': NAMES}
    expected, found = run(theirs, maps), run(metric_of(), maps)
    assert {name: float(value) for name, value in expected.items()} == {
        name: pytest.approx(found[name], abs=0.011) for name in ('aAcc', 'mIoU', 'mAcc')
    }


def test_same_numbers_as_mmseg_with_absent_classes_and_wild_predictions():
    maps = [(p.clamp(max=4), label.clamp(max=3)) for p, label in images(2)]
    maps = [(torch.where(p < 0, 9, p), label) for p, label in maps]
    theirs = IoUMetric()
    theirs.dataset_meta = {'classes': NAMES}
    expected, found = run(theirs, maps), run(metric_of(), maps)
    for name in ('aAcc', 'mIoU', 'mAcc'):
        assert found[name] == pytest.approx(float(expected[name]), abs=0.011)
    assert found['mIoU_present'] > found['mIoU']


def test_histograms_take_over_above_a_thousand_classes(monkeypatch):
    maps = images(3)
    by_matrix = run(metric_of(), maps)
    monkeypatch.setattr(iou_module, 'MATRIX_CLASSES', 2)
    by_histograms = metric_of()
    assert run(by_histograms, maps) == by_matrix
    assert by_histograms.report.areas.label.sum() == sum(int((la != 255).sum()) for _, la in maps)


@pytest.mark.parametrize('count', [1, 2, 3, 5, 6])
@pytest.mark.parametrize('world', [2, 4])
def test_processes_sum_to_one_process_without_the_repeated_images(monkeypatch, count, world):
    maps = images(count)
    expected = sum(naive_matrix(*pair, len(NAMES), 255) for pair in maps)
    dealt = [index % count for index in range(-(-count // world) * world)]
    total, seen = 0, 0
    monkeypatch.setattr(iou_module, 'get_world_size', lambda: world)
    for rank in range(world):
        monkeypatch.setattr(iou_module, 'get_rank', lambda rank=rank: rank)
        metric = metric_of()
        for index in dealt[rank::world]:
            metric.process({}, [sample(*maps[index])])
        counts, number = metric._sum_of_processes(count)
        total, seen = total + counts, seen + number
    assert seen == count
    np.testing.assert_array_equal(total.numpy(), expected)


def test_images_that_went_missing_are_noticed():
    metric = metric_of()
    metric.process({}, [sample(*images(1)[0])])
    with pytest.raises(RuntimeError, match='1 images were evaluated, but the data set has 3'):
        metric.evaluate(3)


def test_evaluations_do_not_add_up():
    metric, maps = metric_of(), images(2)
    assert run(metric, maps) == run(metric, maps)


def test_groups_have_their_own_mean():
    groups = {'things': ['class 0', 'class 3'], 'stuff': ['class 1']}
    metric = metric_of(groups=groups)
    scores = run(metric, images(2))
    iou = metric.report.areas.iou
    assert scores['mIoU_things'] == pytest.approx(50 * float(iou[0] + iou[3]), abs=0.006)
    assert scores['mIoU_stuff'] == pytest.approx(100 * float(iou[1]), abs=0.006)


def test_means_of_groups_follow_the_headline():
    label, prediction = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 0, 1, 2]]])
    sample = {'pred_sem_seg': {'data': prediction}, 'gt_sem_seg': {'data': label}}
    for headline, wanted in (('mIoU', 25.0), ('mIoU_present', 50.0)):
        metric = metric_of(headline=headline, groups={'rest': ['class 1', 'class 2']})
        metric.process(None, [sample])
        assert metric.evaluate(1)['mIoU_rest'] == wanted


def test_unknown_name_in_a_group():
    with pytest.raises(UserError, match="'clas 3', which is no class .* Did you mean 'class 3'"):
        run(metric_of(groups={'things': ['clas 3']}), images(1))


def test_ignore_index_comes_from_the_data_set_unless_given():
    prediction = torch.zeros(1, 2).long()
    label = torch.tensor([[0, 65535]])
    assert run(metric_of(meta={'ignore_index': 65535}), [(prediction, label)])['aAcc'] == 100
    assert run(metric_of(ignore_index=65535), [(prediction, label)])['aAcc'] == 100
    with pytest.raises(UserError, match='/data/0.jpg: 1 pixels have a label .* first 65535'):
        run(metric_of(), [(prediction, label)])


def test_report_is_complete_and_json():
    metric = metric_of(headline='mIoU_present')
    scores = run(metric, [(torch.zeros(2, 2).long(), torch.tensor([[0, 0], [1, 255]]))])
    report = json.loads(json.dumps(metric.report.to_dict()))
    assert report['headline'] == 'mIoU_present' and report['images'] == 1
    assert round(report['metrics']['mIoU'], 2) == scores['mIoU']
    assert [row['IoU'] for row in report['classes'][:3]] == [pytest.approx(200 / 3), 0, None]
    table = metric.report.table()
    assert '66.67' in table and 'class 5' in table


def test_no_image_without_labels_is_counted():
    with pytest.raises(UserError, match='/data/a.jpg has no labels .* format_only'):
        metric_of().process({}, [sample(torch.zeros(2, 2).long())])


def test_confusion_file(tmp_path):
    maps, path = images(2), tmp_path / 'new' / 'confusion.npy'
    run(metric_of(confusion_file=str(path)), maps)
    expected = sum(naive_matrix(*pair, len(NAMES), 255) for pair in maps)
    np.testing.assert_array_equal(np.load(path), expected)


def saved(tmp_path, labels, classes, **extra):
    metric = metric_of(classes, output_dir=str(tmp_path), format_only=True)
    metric.process({}, [sample(labels, name='picture', **extra)])
    assert metric.evaluate(1) == {}
    return np.asarray(Image.open(tmp_path / 'picture.png'))


def test_label_maps_are_8_bit_up_to_255_classes_and_16_bit_beyond(tmp_path):
    labels = torch.tensor([[0, 254], [3, 7]])
    found = saved(tmp_path, labels, [str(k) for k in range(255)])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)
    labels = torch.tensor([[0, 846], [300, 255]])
    found = saved(tmp_path, labels, [str(k) for k in range(847)])
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, labels)
    assert saved(tmp_path, labels % 3, [str(k) for k in range(847)]).dtype == np.uint16


def test_saved_labels_start_at_one_where_those_of_the_data_set_do(tmp_path):
    found = saved(tmp_path, torch.tensor([[0, 2]]), NAMES, reduce_zero_label=True)
    assert found.tolist() == [[1, 3]]


def test_two_images_of_one_name_are_not_written_over_each_other(tmp_path):
    metric = metric_of(output_dir=str(tmp_path), format_only=True)
    metric.process({}, [sample(torch.zeros(1, 1).long(), name='one/x')])
    with pytest.raises(UserError, match='would both be saved as x.png'):
        metric.process({}, [sample(torch.zeros(1, 1).long(), name='two/x')])


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'headline': 'mDice'}, "headline must be 'mIoU' or 'mIoU_present'"),
        ({'format_only': True}, 'needs output_dir'),
        ({'iou_metrics': ['mDice']}, 'use IoUMetric'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=message):
        OVIoUMetric(**settings)


def test_metric_is_registered():
    assert METRICS.get('OVIoUMetric') is OVIoUMetric
