"""Results as tables, pictures and files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg.apis.results import SegmentationResult
from ovseg.errors import UserError


def make_result(**changed) -> SegmentationResult:
    labels = np.zeros((4, 5), np.int32)
    labels[:, 2:] = 2
    labels[0, 0] = 1
    fields = {
        'image': np.full((4, 5, 3), 90, np.uint8),
        'labels': labels,
        'names': ('background', 'cat', 'sofa'),
        'palette': ((0, 0, 0), (255, 0, 0), (0, 255, 0)),
        'background_index': 0,
        'mean_scores': np.array([np.nan, 0.25, 0.75]),
        'source': 'folder/photo.jpg',
        'model': 'maskclip-tiny',
    }
    return SegmentationResult(**{**fields, **changed})


def test_areas_are_sorted_and_carry_scores():
    areas = make_result().areas()
    assert [(area.name, area.pixels) for area in areas] == [
        ('sofa', 12),
        ('background', 7),
        ('cat', 1),
    ]
    assert areas[0].share == 0.6
    assert [area.score for area in areas] == [0.75, None, 0.25]


def test_table_lists_what_is_present():
    assert make_result().table().splitlines() == [
        'class         area  score',
        '----------  ------  -----',
        'sofa        60.0 %  0.750',
        'background  35.0 %      -',
        'cat          5.0 %  0.250',
    ]


def test_a_background_class_of_another_name_is_marked():
    result = make_result(names=('void', 'cat', 'sofa'))
    assert 'void (background)' in result.table()


def test_masks_by_name():
    result = make_result()
    assert list(result.masks()) == ['sofa', 'background', 'cat']
    assert result.mask('cat').sum() == 1
    assert (result.mask('sofa') == (result.labels == 2)).all()
    with pytest.raises(
        KeyError, match="^No class is called 'sofas'.*Did you mean 'sofa'"
    ) as caught:
        result.mask('sofas')
    assert isinstance(caught.value, UserError)


def test_saved_files_hold_what_the_result_holds(tmp_path):
    scores = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    result = make_result(scores=scores)
    kinds = ('labels', 'overlay', 'scores', 'json', 'coco')
    paths = result.save(tmp_path / 'new', what=kinds)
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == [
        'photo.json',
        'photo_coco.json',
        'photo_labels.png',
        'photo_overlay.png',
        'photo_scores.npz',
    ]
    assert (np.asarray(Image.open(paths['labels'])) == result.labels).all()
    assert (np.asarray(Image.open(paths['overlay'])) == result.overlay()).all()
    with np.load(paths['scores']) as archive:
        assert np.abs(archive['scores'] - scores).max() < 1e-3
        assert archive['names'].tolist() == list(result.names)
    facts = json.loads(paths['json'].read_text())
    assert facts['image'] == 'folder/photo.jpg'
    assert facts['classes'][0] == {
        'index': 2,
        'name': 'sofa',
        'pixels': 12,
        'share': 0.6,
        'score': 0.75,
    }
    assert facts['classes'][1]['score'] is None


def test_coco_masks_decode_to_the_labels(tmp_path):
    result = make_result()
    path = result.save(tmp_path, 'x', what=['coco'])['coco']
    content = json.loads(path.read_text())
    assert [item['name'] for item in content['categories']] == ['cat', 'sofa']
    assert len(content['annotations']) == 2
    for annotation in content['annotations']:
        mask = coco_mask.decode(annotation['segmentation']).astype(bool)
        assert (mask == (result.labels == annotation['category_id'] - 1)).all()
        assert annotation['area'] == mask.sum()
    assert content['annotations'][0]['bbox'] == [2.0, 0.0, 3.0, 4.0]


def test_more_than_256_classes_are_saved_with_16_bits(tmp_path):
    labels = np.full((4, 5), 300, np.int32)
    result = make_result(
        labels=labels,
        names=tuple(f'class {index}' for index in range(400)),
        palette=((1, 2, 3),) * 400,
        mean_scores=None,
    )
    path = result.save(tmp_path, what=['labels'])['labels']
    assert (np.asarray(Image.open(path)) == 300).all()
    assert '-' in result.table().splitlines()[2]


def test_what_cannot_be_saved_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="'overlays' cannot be saved.*Did you mean 'overlay'"):
        make_result().save(tmp_path, what=['labels', 'overlays'])
    with pytest.raises(UserError, match='scores=True'):
        make_result().save(tmp_path, what=['labels', 'scores'])
    assert not list(tmp_path.iterdir())


def test_an_interrupted_save_leaves_whole_files_only(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('ovseg.apis.files.json.dumps', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_result().save(tmp_path, what=['labels', 'json'])
    assert [path.name for path in tmp_path.iterdir()] == ['photo_labels.png']


def test_notebooks_show_the_overlay():
    result = make_result()
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert (np.asarray(picture) == result.overlay()).all()


def test_show_opens_the_picture_viewer_outside_of_notebooks(monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda picture: shown.append(picture.size))
    result = make_result()
    result.show()
    assert shown == [result.overlay().shape[1::-1]]


def test_short_description_names_size_and_classes():
    assert repr(make_result()) == (
        'SegmentationResult(4 x 5, 3 classes: sofa 60.0 %, background 35.0 %, cat 5.0 %)'
    )


@pytest.mark.parametrize('changed', [{'labels': np.zeros((3, 3), int)}, {'names': ('a',)}])
def test_fields_that_do_not_fit_each_other_are_refused(changed):
    with pytest.raises(ValueError, match='labels are|1 names'):
        make_result(**changed)
