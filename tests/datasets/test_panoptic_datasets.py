"""Data sets in COCO's panoptic format, from files to what metrics compare."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from miniatures import ROOT
from mmengine import Config
from mmengine.registry import DefaultScope
from PIL import Image
from segment_files import DATA, OFFICIAL, facts, samples, write_images

from ovseg.datasets import COCOPanopticDataset, PanopticDataset
from ovseg.datasets.panoptic_files import read_panoptic_file
from ovseg.datasets.panoptic_loading import read_id_map
from ovseg.errors import UserError
from ovseg.evaluation import PanopticQualityMetric
from ovseg.registry import DATASETS

BASE = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'panoptic.py')
PIPELINE = BASE.test_dataloader.dataset.pipeline


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('panoptic')
    shutil.copytree(DATA / 'truth', folder / 'truth')
    shutil.copy(DATA / 'truth.json', folder)
    write_images(folder / 'images')
    return folder


def build(root, kind='PanopticDataset', **changes):
    settings = dict(
        type=kind,
        data_root=str(root),
        ann_file='truth.json',
        data_prefix=dict(img_path='images', seg_map_path='truth'),
        pipeline=PIPELINE,
    )
    with DefaultScope.overwrite_default_scope('ovseg'):
        return DATASETS.build({**settings, **changes})


def rewritten(root, tmp_path, change):
    """An annotation file with one change, beside the others."""
    content = json.loads((root / 'truth.json').read_text())
    change(content)
    path = tmp_path / 'changed.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_a_sample_is_what_the_files_say_whatever_the_image_is_resized_to(root):
    dataset = build(root, resize=dict(scale=(44, 32), keep_ratio=True))
    assert {key: tuple(dataset.metainfo[key]) for key in facts()} == facts()
    for number, wanted in enumerate(samples()):
        sample = dataset[number]
        truth = sample['data_samples'].panoptic_truth
        assert sample['inputs'].shape == (3, 32, 44)
        assert np.array_equal(truth.ids, wanted['panoptic_truth'].ids)
        assert truth.segments == wanted['panoptic_truth'].segments
        assert sample['data_samples'].img_id == wanted['img_id']
        assert sample['data_samples'].stuff_labels == (3, 4, 5, 6)


def test_a_data_set_and_predictions_have_the_numbers_of_panopticapi(root):
    metric = PanopticQualityMetric()
    dataset = build(root)
    metric.dataset_meta = dataset.metainfo
    for number, sample in enumerate(samples()):
        loaded = dataset[number]['data_samples'].to_dict()
        metric.process(None, [{**loaded, 'pred_segments': sample['pred_segments']}])
    metric.evaluate(len(dataset))
    assert metric.report.scores['PQ'] == pytest.approx(OFFICIAL['panopticapi']['All']['pq'])


def test_classes_that_are_not_chosen_are_as_if_nobody_had_annotated_them(root):
    dataset = build(root, metainfo=dict(classes=['grass', 'dog']))
    assert dataset.metainfo['thing_classes'] == ('dog',)
    assert dataset.metainfo['category_ids'] == (44, 7)
    found = {
        (segment.id, segment.label)
        for sample in dataset
        for segment in sample['data_samples'].panoptic_truth.segments
    }
    label = {facts()['classes'].index('grass'): 0, facts()['classes'].index('dog'): 1}
    wanted = {
        (segment.id, label[segment.label])
        for sample in samples()
        for segment in sample['panoptic_truth'].segments
        if segment.label in label
    }
    assert found == wanted and len(found) > 10


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('categories'), "no list 'categories'"),
        (lambda c: c['annotations'][1].pop('segments_info'), r'annotations\[1\] has no list'),
        (lambda c: c['annotations'][0].update(image_id=7), "'image_id' is 7"),
        (
            lambda c: c['annotations'][0]['segments_info'][0].update(category_id=5),
            r"segments_info\[0\]: 'category_id' is 5",
        ),
        (lambda c: c['annotations'][0]['segments_info'][0].update(id=0), '0 means no segment'),
        (
            lambda c: c['annotations'][1].update(image_id=c['annotations'][0]['image_id']),
            "annotations: 'image_id' is .* in two entries",
        ),
        (lambda c: c['categories'].append(c['categories'][0]), "categories: 'id' is .* in two"),
        (
            lambda c: c['categories'][1].update(name=c['categories'][0]['name']),
            "categories: 'name' is .* in two entries",
        ),
        (
            lambda c: c['annotations'][0]['segments_info'].append(
                c['annotations'][0]['segments_info'][0]
            ),
            r"annotations\[0\].segments_info: 'id' is .* in two entries",
        ),
        (lambda c: c['categories'][0].pop('isthing'), r"categories\[0\]: 'isthing' is None"),
        (lambda c: c['images'][0].update(file_name='gone.jpg'), 'images have no image, the first'),
    ],
)
def test_what_is_wrong_in_a_file_is_named(root, tmp_path, change, message):
    with pytest.raises((UserError, FileNotFoundError), match=message):
        build(root, ann_file=rewritten(root, tmp_path, change))


def test_a_map_of_another_release_is_named_when_it_is_read(root, tmp_path):
    def renumber(content):
        for segment in content['annotations'][0]['segments_info']:
            segment['id'] = 256**3 - segment['id']

    dataset = build(root, ann_file=rewritten(root, tmp_path, renumber))
    with pytest.raises(UserError, match=r'00\.png has no pixel of any segment'):
        dataset[0]


def test_a_file_of_another_data_set_is_refused(root):
    with pytest.raises(UserError, match="has no category 1, which is 'person'"):
        build(root, 'COCOPanopticDataset')
    assert issubclass(COCOPanopticDataset, PanopticDataset)


def test_a_map_that_is_no_rgb_png_is_refused(tmp_path):
    for mode, suffix in (('L', 'png'), ('RGB', 'jpg')):
        path = tmp_path / f'map.{suffix}'
        Image.new(mode, (4, 3)).save(path)
        with pytest.raises(UserError, match='a panoptic map is an RGB PNG'):
            read_id_map(str(path))


def test_the_committed_files_hold_groups_and_pixels_of_nobody():
    images = read_panoptic_file(DATA / 'truth.json').images
    crowds = [segment for image in images for segment in image.segments if segment[3]]
    assert len(crowds) > 3 and not all((s['panoptic_truth'].ids > 0).all() for s in samples())


def test_things_of_scenes_in_cocos_format_are_measured_as_those_that_are_drawn(tmp_path):
    from scripts import load_script

    from ovseg.evaluation import MaskAPMetric

    words = ['--instances', '--training', '1', '--validation', '4']
    words += ['--heldout', '1', '--phrases', '1']
    load_script('make_scenes').main([str(tmp_path), *words])
    file = tmp_path / 'annotations' / 'instances_validation.json'
    things = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'coco_things.py')
    pipeline = things.test_dataloader.dataset.pipeline
    settings = dict(ann_file=str(file), data_prefix=dict(img_path='images'), pipeline=pipeline)
    dataset = build(tmp_path, 'InstanceDataset', **settings)
    assert set(dataset.metainfo['classes']) == set(dataset.metainfo['thing_classes'])
    drawn = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'scenes_panoptic.py')
    with DefaultScope.overwrite_default_scope('ovseg'):
        other = DATASETS.build({**drawn.test_dataloader.dataset, 'num_scenes': 4})
    metric = MaskAPMetric(ann_file=str(file))
    metric.dataset_meta = dataset.metainfo
    found = 0
    for number, truth in enumerate(each['data_samples'].panoptic_truth for each in other):
        sample = dataset[number]['data_samples']
        assert sample.stuff_labels == ()
        size, true = metric._annotated({'img_path': sample.img_path})
        areas = sorted(record['area'] for record in true)
        assert size == truth.ids.shape
        assert areas == sorted(
            each.area
            for each in truth.segments
            if other.metainfo['classes'][each.label] in other.metainfo['thing_classes']
        )
        found += len(areas)
    assert found > 5
