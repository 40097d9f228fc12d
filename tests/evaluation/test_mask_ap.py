"""Mask AP: the numbers of pycocotools on the same masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from segment_files import OFFICIAL, facts, samples

from ovseg.coco_masks import mask_record
from ovseg.errors import UserError
from ovseg.evaluation import MaskAPMetric


def evaluated(chosen=None, **settings):
    metric = MaskAPMetric(**settings)
    metric.dataset_meta = facts()
    chosen = samples() if chosen is None else chosen
    for sample in chosen:
        metric.process(None, [sample])
    return metric, metric.evaluate(len(chosen))


def test_scores_are_those_of_pycocotools():
    metric, scores = evaluated(groups={'unseen': ['cat', 'sky', 'rug']})
    for name, wanted in OFFICIAL['pycocotools'].items():
        found = metric.scores[f'mask {name}']
        assert found == (None if wanted is None else pytest.approx(wanted, rel=1e-12))
        assert wanted is None or scores[f'mask {name}'] == round(wanted, 2)
    assert metric.report.headline == 'mask AP'


def instances_of(sample, form):
    """The things of a sample as a detector gives them."""
    found = sample['pred_segments']
    things = [segment for segment in found.segments if segment.is_thing]
    masks = [found.ids.numpy() == segment.id for segment in things]
    if form == 'run lengths':
        masks = [mask_record(mask)['segmentation'] for mask in masks]
    return {
        'masks': masks,
        'labels': np.array([segment.label for segment in things]),
        'scores': np.array([segment.score for segment in things]),
    }


@pytest.mark.parametrize('form', ['masks', 'run lengths'])
def test_masks_that_may_overlap_come_first(form):
    given = [{**sample, 'pred_instances': instances_of(sample, form)} for sample in samples()]
    metric, _ = evaluated(given)
    assert metric.scores['mask AP'] == pytest.approx(OFFICIAL['pycocotools']['AP'], rel=1e-12)
    # A second, surer mask of a thing that is found already costs precision.
    for sample in given:
        first = sample['pred_instances']
        sample['pred_instances'] = {
            'masks': list(first['masks']) * 2,
            'labels': np.tile(first['labels'], 2),
            'scores': np.concatenate([first['scores'], np.ones(len(first['scores']))]),
        }
    assert evaluated(given)[0].scores['mask AP'] != metric.scores['mask AP']


def annotation_file(path, **changes):
    """The things of the samples in COCO's instance format."""
    ids = dict(enumerate(facts()['category_ids']))
    content = {
        'images': [],
        'annotations': [],
        'categories': [
            {'id': ids[label], 'name': name}
            for label, name in enumerate(facts()['classes'])
            if name in facts()['thing_classes']
        ],
    }
    for number, sample in enumerate(samples()):
        truth = sample['panoptic_truth']
        height, width = truth.ids.shape
        content['images'].append(
            {'id': number, 'file_name': sample['img_path'], 'height': height, 'width': width}
        )
        content['annotations'] += [
            {
                'id': 1000 * number + place,
                'image_id': number,
                'category_id': ids[segment.label],
                'iscrowd': int(segment.is_crowd),
                **mask_record(truth.ids == segment.id),
                **changes,
            }
            for place, segment in enumerate(truth.segments)
            if facts()['classes'][segment.label] in facts()['thing_classes']
        ]
    path.write_text(json.dumps(content))
    return str(path)


def test_annotations_of_a_file_are_found_by_the_names_of_images_and_classes(tmp_path):
    given = [{**sample, 'panoptic_truth': None} for sample in samples()]
    metric, _ = evaluated(given, ann_file=annotation_file(tmp_path / 'things.json'))
    for name, wanted in OFFICIAL['pycocotools'].items():
        if not name.endswith('unseen'):
            found = metric.scores[f'mask {name}']
            assert found == (None if wanted is None else pytest.approx(wanted, rel=1e-12))
    # The area of an annotation is what its file says.
    large = annotation_file(tmp_path / 'large.json', area=97.0**2)
    metric, _ = evaluated(given, ann_file=large)
    assert metric.scores['mask AP_s'] is None and metric.scores['mask AP_l'] > 0


def test_files_that_do_not_belong_to_the_data_are_refused(tmp_path):
    path = annotation_file(tmp_path / 'things.json')
    content = json.loads((tmp_path / 'things.json').read_text())
    with pytest.raises(UserError, match='has no image other.jpg'):
        evaluated([{**samples()[0], 'img_path': 'a/other.jpg'}], ann_file=path)
    for category in content['categories']:
        category['name'] += 's'
    (tmp_path / 'other.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match="the first is 'cats'.*mean 'cat'"):
        evaluated(ann_file=str(tmp_path / 'other.json'))
    with pytest.raises(FileNotFoundError, match='annotation file .*gone.json does not exist'):
        MaskAPMetric(ann_file=str(tmp_path / 'gone.json'))


def test_nothing_found_is_0_and_nothing_annotated_is_no_number():
    sample = samples()[0]
    nothing = type(sample['pred_segments'])(sample['pred_segments'].ids * 0, ())
    metric, _ = evaluated([{**sample, 'pred_segments': nothing}])
    assert metric.scores['mask AP'] == 0
    empty = type(sample['panoptic_truth'])(sample['panoptic_truth'].ids, ())
    metric, scores = evaluated([{**sample, 'panoptic_truth': empty}])
    assert metric.scores['mask AP'] is None and np.isnan(scores['mask AP'])


def test_sizes_must_agree():
    sample = {**samples()[0], 'img_path': 'a.jpg'}
    other = type(sample['pred_segments'])(sample['pred_segments'].ids[1:], ())
    with pytest.raises(UserError, match=r'a\.jpg: the segments are'):
        evaluated([{**sample, 'pred_segments': other}])
