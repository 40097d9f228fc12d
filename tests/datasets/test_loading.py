from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ovseg.datasets import LoadSegLabels
from ovseg.errors import UserError

LARGE = np.array([[0, 1, 254], [255, 256, 846]], np.uint16)


def load(path, **keys):
    sample = {'seg_map_path': str(path), 'seg_fields': [], **keys}
    return LoadSegLabels()(sample)['gt_seg_map']


def save_palette(path):
    image = Image.fromarray(LARGE.clip(max=255).astype(np.uint8))
    image.putpalette([7 * i % 256 for i in range(768)])
    image.save(path)


@pytest.mark.parametrize(
    'name, save, wanted',
    [
        ('grey.png', lambda p: cv2.imwrite(str(p), LARGE.clip(max=255).astype(np.uint8)), 255),
        ('palette.png', save_palette, 255),
        ('deep.png', lambda p: cv2.imwrite(str(p), LARGE), 846),
        ('pillow.tif', lambda p: Image.fromarray(LARGE).save(p), 846),
        ('big_endian.tif', lambda p: Image.fromarray(LARGE.astype('>u2')).save(p), 846),
        ('opencv.tif', lambda p: cv2.imwrite(str(p), LARGE), 846),  # OpenCV compresses with LZW
    ],
)
def test_every_label_format_loads_without_loss(name, save, wanted, tmp_path):
    save(tmp_path / name)
    labels = load(tmp_path / name, ignore_index=65535)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, LARGE.clip(max=wanted))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 65535), min_size=1, max_size=12),
    reduce=st.booleans(),
    ignore=st.sampled_from([255, 65535]),
)
def test_the_label_rule_holds_for_any_values(values, reduce, ignore, tmp_path_factory):
    path = tmp_path_factory.mktemp('labels') / 'a.png'
    cv2.imwrite(str(path), np.array([values], np.uint16))
    labels = load(path, reduce_zero_label=reduce, ignore_index=ignore, ignored_labels=(ignore,))

    def rule(value):
        if value == ignore or (reduce and value == 0):
            return ignore
        return value - reduce

    assert labels.tolist() == [[rule(value) for value in values]]


def test_a_label_map_is_applied_to_all_labels_at_once(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.array([[0, 1, 2, 255]], np.uint8))
    labels = load(tmp_path / 'a.png', label_map={0: 1, 1: 2, 2: 255})
    assert labels.tolist() == [[1, 2, 255, 255]]


def test_one_loader_serves_two_data_sets(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.array([[0, 1]], np.uint8))
    loader = LoadSegLabels()
    found = [
        loader(
            dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[], reduce_zero_label=reduced)
        )['gt_seg_map'].tolist()
        for reduced in (True, False)
    ]
    assert found == [[[255, 0]], [[0, 1]]]


def test_a_sample_without_labels_passes_unchanged():
    assert LoadSegLabels()({'img_path': 'photo.jpg'}) == {'img_path': 'photo.jpg'}


@pytest.mark.parametrize('name', ['cut.png', 'cut.tif'])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named_in_one_sentence(name, share, tmp_path):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 60000, (64, 64)).astype(np.uint16)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=f'label map {path} is ') as raised:
        load(path)
    assert '\n' not in str(raised.value)


def test_a_text_file_is_no_label_map(tmp_path):
    path = tmp_path / 'a.png'
    path.write_text('version https://git-lfs.github.com/spec/v1')
    with pytest.raises(UserError, match='label map .* is not an image'):
        load(path)


def test_a_colour_image_is_no_label_map(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(UserError, match='is a colour image'):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.png'):
        load(tmp_path / 'gone.png')


def test_labels_of_another_size_than_the_image_are_refused(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.zeros((2, 3), np.uint8))
    with pytest.raises(UserError, match='has 2 x 3 labels but its image is 3 x 2'):
        load(path, ori_shape=(3, 2))
