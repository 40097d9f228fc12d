from __future__ import annotations

import json

import numpy as np
from pycocotools import coco as pycoco

import ovseg.compat.mmdet_datasets as shim
from ovseg.apis.coco import file_info
from ovseg.coco_masks import mask_record


def test_results_load_beside_annotations_without_info(tmp_path, monkeypatch):
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:6] = True
    record = {'id': 1, 'image_id': 1, 'category_id': 1, 'iscrowd': 0, **mask_record(mask)}
    content = {
        'images': [{'id': 1, 'file_name': 'a.png', 'height': 8, 'width': 8}],
        'categories': [{'id': 1, 'name': 'star'}],
        'annotations': [record],
    }
    path = tmp_path / 'objects.json'
    path.write_text(json.dumps(content))

    def as_in_2_0_9(self, results):
        assert 'info' in self.dataset  # else a KeyError there
        return self.dataset['info']

    truth = pycoco.COCO(str(path))
    found = truth.loadRes([{**record, 'score': 0.5}])
    assert found.getAnnIds() == [1]
    monkeypatch.setattr(shim, '_load_results', as_in_2_0_9)
    assert pycoco.COCO(str(path)).loadRes([]) == {}


def test_files_that_are_written_have_an_info():
    assert file_info()['description'].startswith('segmentation by ovseg')
