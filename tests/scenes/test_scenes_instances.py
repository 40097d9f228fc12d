"""Objects of Scenes in COCO's format, read back by pycocotools."""

import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from scripts import load_script

from ovseg.scenes.draw import Picture
from ovseg.scenes.instances import coco_annotation, visible_objects
from ovseg.scenes.world import MATERIALS, OBJECTS, sample_scene

ARGUMENTS = ['--training', '3', '--validation', '2', '--heldout', '0', '--phrases', '0']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp('scenes')
    assert load_script('make_scenes').main([str(out), *ARGUMENTS, '--instances']) == 0
    return out


@pytest.fixture(scope='module')
def coco(folder):
    return COCO(folder / 'annotations' / 'instances_training.json')


def test_the_ten_objects_are_the_categories_from_1(coco):
    categories = coco.loadCats(coco.getCatIds())
    assert [(c['id'], c['name']) for c in categories] == list(enumerate(OBJECTS, 1))


def test_masks_are_where_the_label_map_has_their_class(coco, folder):
    assert coco.getAnnIds()
    for image in coco.loadImgs(coco.getImgIds()):
        labels = cv2.imread(str(folder / 'annotations' / image['file_name']), -1)
        assert labels.shape == (image['height'], image['width'])
        assert (folder / 'images' / image['file_name']).is_file()
        covered = np.zeros(labels.shape, bool)
        for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask = coco.annToMask(annotation).astype(bool)
            assert (labels[mask] == len(MATERIALS) + annotation['category_id'] - 1).all()
            assert not (covered & mask).any()
            covered |= mask
            assert annotation['area'] == mask.sum()
            x, y, width, height = map(int, annotation['bbox'])
            inside = mask[y : y + height, x : x + width]
            assert inside.sum() == mask.sum()
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            assert all(edge.any() for edge in edges)
        # What is left out is smaller than anybody could name.
        assert ((labels >= len(MATERIALS)) & ~covered).sum() < 40


def test_an_object_hidden_almost_wholly_is_left_out():
    scene = sample_scene('val', 0)
    owner = np.zeros((32, 32), np.uint8)
    owner[:4, :5] = len(MATERIALS)  # 20 pixels
    owner[10, :19] = len(MATERIALS) + 1
    found = visible_objects(scene, Picture(np.zeros((32, 32, 3), np.uint8), owner))
    assert [(kind, mask.sum()) for kind, mask in found] == [(scene.things[0].kind, 20)]
    assert coco_annotation(*found[0])['bbox'] == [0, 0, 5, 4]


def test_a_second_run_writes_the_same_file_and_leaves_no_other(folder, tmp_path):
    load_script('make_scenes').main([str(tmp_path), *ARGUMENTS, '--instances'])
    for name in ('instances_training.json', 'instances_validation.json'):
        first, second = (part / 'annotations' / name for part in (folder, tmp_path))
        assert first.read_bytes() == second.read_bytes()
    names = {path.name for path in (tmp_path / 'annotations').iterdir()}
    assert names == {'training', 'validation', *(p.name for p in tmp_path.rglob('instances_*'))}
    assert not (tmp_path / 'annotations' / 'instances_heldout.json').exists()


def test_without_the_option_no_instances_are_written(tmp_path):
    load_script('make_scenes').main([str(tmp_path), *ARGUMENTS])
    assert not list(tmp_path.rglob('instances_*'))
    assert json.loads((tmp_path / 'classes.json').read_text())['classes']
