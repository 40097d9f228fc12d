"""Mask AP: the numbers of pycocotools on the same masks."""

from __future__ import annotations

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
