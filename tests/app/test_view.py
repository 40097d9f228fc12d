"""Answers as the browser gets them: exact labels, a small picture, files of the whole one."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from ovseg.apis import SegmentationResult
from ovseg.app.view import SHOWN_SIDE, file_of, view_of, view_without_masks
from ovseg.errors import UserError
from ovseg.result_files import is_result


def result_of(labels, num_classes=4, **settings):
    rng = np.random.default_rng(0)
    labels = np.asarray(labels)
    names = tuple(f'class {index}' for index in range(num_classes))
    palette = tuple((index % 256, index // 256, 9) for index in range(num_classes))
    image = rng.integers(0, 255, (*labels.shape, 3), dtype=np.uint8)
    return SegmentationResult(image, labels, names, palette, source='photo.jpg', **settings)


def labels_in(view):
    width, height = view['shown']
    data = zlib.decompress(base64.b64decode(view['labels']))
    return np.frombuffer(data, f'<u{view["bits"] // 8}').reshape(height, width)


@pytest.mark.parametrize('num_classes', [4, 256, 257, 700])
def test_labels_arrive_as_they_are(num_classes):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, num_classes, (30, 50))
    view = view_of(result_of(labels, num_classes))
    assert (labels_in(view) == labels).all()
    assert view['bits'] == (8 if num_classes <= 256 else 16)


def test_a_large_picture_is_shown_smaller_and_says_how_large_it_is():
    labels = np.zeros((300, 4 * SHOWN_SIDE), np.int64)
    labels[:, 2 * SHOWN_SIDE :] = 3
    view = view_of(result_of(labels, background_index=0))
    assert (view['width'], view['height']) == (4 * SHOWN_SIDE, 300)
    assert view['shown'] == [SHOWN_SIDE, 75]
    shown = labels_in(view)
    assert (shown[:, : SHOWN_SIDE // 2] == 0).all() and (shown[:, SHOWN_SIDE // 2 :] == 3).all()
    picture = Image.open(io.BytesIO(base64.b64decode(view['source'].split(',')[1])))
    assert picture.size == (SHOWN_SIDE, 75)
    assert [each['is_background'] for each in view['classes']] == [True, False]
    assert view['absent'] == ['class 1', 'class 2']


def test_a_picture_without_masks_has_a_label_for_each_pixel_and_no_class():
    view = view_without_masks(np.zeros((7, 5, 3), np.uint8))
    assert labels_in(view).shape == (7, 5) and view['classes'] == []


def files_of(kind, **settings):
    labels = np.zeros((60, 80), np.int64)
    labels[:30], labels[:10, :10] = 2, 3
    result = result_of(labels)
    file = file_of(result, kind, settings.get('opacity', 0.5), settings.get('hidden', ()))
    return result, file, base64.b64decode(file['data'])


def test_labels_and_json_are_the_files_of_the_result(tmp_path):
    result, file, data = files_of('labels', hidden=(2,))
    assert (file['name'], file['type']) == ('photo_labels.png', 'image/png')
    assert (np.asarray(Image.open(io.BytesIO(data))) == result.labels).all()
    (tmp_path / 'labels.png').write_bytes(data)
    assert is_result(tmp_path / 'labels.png')
    _, file, data = files_of('json')
    assert file['name'] == 'photo.json'
    assert json.loads(data) == {'made_by': 'ovseg', **result.to_dict()}


def test_an_overlay_is_painted_as_it_is_on_the_page():
    result, file, data = files_of('overlay', opacity=0.9)
    assert file['name'] == 'photo_overlay.png'
    assert (np.asarray(Image.open(io.BytesIO(data))) == result.overlay(0.9)).all()
    _, _, hidden = files_of('overlay', opacity=0.0, hidden=(0, 2, 3))
    shown = np.asarray(Image.open(io.BytesIO(hidden)))
    factor = shown.shape[1] // 80  # small pictures are enlarged, without a legend they stay so
    near = shown[factor // 2 :: factor, factor // 2 :: factor][:60, :80].astype(int)
    assert np.abs(near - result.image).mean() < 12


def test_an_unknown_file_is_a_sentence():
    with pytest.raises(UserError, match="Did you mean 'overlay'"):
        files_of('overlai')
